"""Flower, ``celery inspect``, ``control`` and ``events``, on SNS and SQS. Loaded only where MONITORING=1.

Celery's monitoring wants broadcast and throw-away queues by the dozen, which SQS does not have. Here each process
has one queue, its inbox, however many of Celery's queues it declares: those are local and fed from the inbox.

    events:   worker, pool process --> topic PREFIX-events  --> inboxes of Flower, `celery events`, `archiver watch`
    control:  Flower, `celery ...` --> topic PREFIX-control --> inboxes of the workers
    replies:  worker --> inbox of who asked

No thread that works on jobs waits for any of it: what goes out passes through the outbox's thread, what comes in
through the inbox's, and what SNS and SQS don't take in time is dropped.

naming   names of topics and inboxes (pure)
clients  SNS and SQS clients that give up soon
outbox   the thread that sends
inbox    the queue of this process, and the thread that receives
monitor  both, one pair a process, and the local queues in front of the inbox
channel  kombu's view of it: the transport of ``broker_transport``
control  Celery's remote control, fit for this transport
worker   what a worker does differently
jobs     a job's own events: progress, failed attempts
events   Celery's events for those who listen without Celery
sweep    inboxes and subscriptions whose owner is gone
"""
