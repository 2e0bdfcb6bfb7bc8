"""Celery's side: receives messages, keeps them, hands them back; knows nothing of archives.

decode     an SQS message -> one Celery task call (pure); celery_call: one that is a call already
envelope   what Celery gets of it (pure)
request    a job in the worker's own process: its limits, its cancelling
channel    the kombu channel: messages become calls, are acked, rejected with a back-off, handed back
predefined where a channel's queues are, and a client of each; transport: what channels have in common
unsettled  the messages in hand, and what SQS is asked to do with them
poller     the polls of a queue, without end; turns: when, and for how many messages (pure)
polling    kombu's asynchronous SQS connection, with timeouts and errors as values
backoff    how long a failed message stays hidden (pure)
heartbeat  keeps a running job's message hidden
drain      SIGTERM: finish what fits, hand the rest back
liveness   the file whose age tells whether the worker still polls
progress   a running job's progress, as log lines and events
startup    what a worker checks and says when it is ready
attempts   how many a job has; account, metrics: what one took, told in the log and to CloudWatch
protection an ECS task that is not stopped while jobs run; protect: the worker's step
"""
