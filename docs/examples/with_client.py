"""Asks for an archive with archiver.client: the payload is validated before it is sent.

python docs/examples/with_client.py input-queue
"""

import sys

from archiver.client import ArchiverClient
from archiver.errors import InvalidPayload, QueueUnavailable

archiver = ArchiverClient(sys.argv[1])  # make it once; it is safe to share between threads
try:
    request_id = archiver.submit(
        ["source.jpg", ("reports/june.pdf", "documents/june.pdf"), "photos/2026/"],
        metadata={"order": 7},
        on_missing="skip",
        filename="order 7.zip",
        correlation_id="order-7",
    )
except (InvalidPayload, QueueUnavailable) as error:
    sys.exit(f"{error.code}: {error.message}")
print(request_id)  # noqa: T201 an example shows what it has; the notification has it, too
