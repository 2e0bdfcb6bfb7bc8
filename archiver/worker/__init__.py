"""Between SQS and the tasks: receives, keeps, hands back and dead-letters messages; knows nothing of archives.

decode     an SQS message -> one Celery task call (pure)
sqs        the kombu transport: polls without end, acks, rejects with a back-off
polling    kombu's asynchronous SQS connection, with timeouts and errors as values
backoff    how long a failed message stays hidden (pure)
heartbeat  keeps a running job's message hidden
redrive    the dead-letter queue: found by the redrive policy, and written to
drain      SIGTERM: finish what fits, hand the rest back
liveness   the file whose age tells whether the worker still polls
startup    what a worker checks and says when it is ready
clients    SQS clients
naming     names of queues
"""
