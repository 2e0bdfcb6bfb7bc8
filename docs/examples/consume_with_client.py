"""Hears of finished archives with archiver.client: typed, and each deleted only once it is handled.

python docs/examples/consume_with_client.py output-queue
"""

import signal
import sys

from archiver.client import Notification, Notifications

notifications = Notifications(sys.argv[1])
signal.signal(signal.SIGTERM, lambda *_: notifications.stop())


def handle(notification: Notification) -> None:
    """An exception leaves the notification on the queue, and the next one is taken."""
    if notification.status == "succeeded":
        print(notification.request_id, notification.archive.key, flush=True)  # noqa: T201 an example shows what it has
    else:  # failed or cancelled, where the archiver has NOTIFY_FAILURES=1
        print(notification.request_id, notification.error.code, flush=True)  # noqa: T201 as above


notifications.run(handle)
