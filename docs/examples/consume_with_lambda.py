"""Hears of finished archives as a Lambda function, with nothing but Python.

The event source mapping of the destination queue takes ``FunctionResponseTypes: [ReportBatchItemFailures]``: then a
message that fails comes back alone. Source: Lambda Developer Guide, error handling for SQS.
"""

import json
from typing import Any


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """What Lambda calls with up to ten messages; those that are not named in the answer are deleted."""
    failures = []
    for record in event["Records"]:
        try:
            handle(json.loads(record["body"]))
        except Exception as error:
            print(f"{record['messageId']}: {error!r}")  # noqa: T201 CloudWatch Logs has it
            failures.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failures}


def handle(notification: dict[str, Any]) -> None:
    """Delivery is at least once: what was done for this request_id before is not to be done again."""
    if notification["status"] == "succeeded":
        print(notification["request_id"], notification["archive"]["key"])  # noqa: T201 an example shows what it has
    else:  # failed or cancelled, where the archiver has NOTIFY_FAILURES=1
        print(notification["request_id"], notification["error"]["code"])  # noqa: T201 as above
