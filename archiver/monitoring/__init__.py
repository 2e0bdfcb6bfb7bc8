"""Flower, ``celery inspect``, ``control`` and ``events``, on SNS and SQS. Loaded only where MONITORING=1.

Celery's monitoring wants broadcast and throw-away queues by the dozen, which SQS does not have. Here each process
has one queue, its inbox, however many of Celery's queues it declares: those are local and fed from the inbox.

    events:   worker, pool process --> topic PREFIX-events  --> inboxes of Flower, `celery events`, `archiver watch`
    control:  Flower, `celery ...` --> topic PREFIX-control --> inboxes of the workers
    replies:  worker --> inbox of who asked

What kombu 5.7's own fan-out over SNS does not do, and this does:

- no thread that works on jobs waits for SNS or SQS: kombu publishes where it stands, with minutes of timeouts;
- one queue a process: kombu has one for each of Celery's mailboxes, command and reply, and polls each of them;
- queues go with their process, or are swept: kombu ends stale subscriptions, and leaves the queues;
- only the source queue is predefined: kombu's ``predefined_queues`` then forbids every other;
- rights on names under PREFIX are enough: kombu tags topics, and its names begin with nothing of ours.
"""
