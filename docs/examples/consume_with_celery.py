"""Makes a task of a Celery service of each finished archive.

python docs/examples/consume_with_celery.py output-queue

The notifications are plain JSON on a queue of their own, no Celery messages: this process takes them off it and
calls the service's task. The service's worker does the rest, with its own retries. A message is deleted once its call
is sent.
"""

import signal
import sys
from typing import Any

from celery import Celery

from archiver.client import Notifications

app = Celery("another-service")  # its broker from CELERY_BROKER_URL


@app.task(name="another_service.archive_ready")  # type: ignore[untyped-decorator]  # celery has no types
def archive_ready(notification: dict[str, Any]) -> None:
    """In the service's own code; it may be called twice for one request_id."""


notifications = Notifications(sys.argv[1])
signal.signal(signal.SIGTERM, lambda *_: notifications.stop())
for told in notifications:
    archive_ready.delay(told.model_dump(mode="json"))
    print(told.request_id, told.status, flush=True)  # noqa: T201 an example shows what it has
