"""Asks for an archive as a Celery call, from a program that has Celery and none of this project's code.

python docs/examples/with_celery.py input-queue

Worth it where a service speaks Celery anyway; else a plain message does the same. The queue belongs to the archiver
alone, so name it in the call and leave the service's own tasks on theirs.
"""

import sys

from celery import Celery

app = Celery("another-service", broker="sqs://")  # region and credentials from the SDK's own configuration
call = app.send_task(
    "archiver.build_archive",
    args=[{"files": [{"source": "source.jpg"}], "metadata": {"order": 7}}],
    queue=sys.argv[1],
    ignore_result=True,  # the notification is the result
)
print(call.id)  # noqa: T201 the request's id; the notification has it, too
