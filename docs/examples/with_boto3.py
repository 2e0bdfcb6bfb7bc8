"""Asks for an archive with nothing but boto3.

python docs/examples/with_boto3.py input-queue
"""

import json
import sys

import boto3

payload = {
    "files": [{"source": "source.jpg"}, {"source": "photos/2026/", "destination": "pictures"}],
    "metadata": {"order": 7},
    "on_missing": "skip",
}
sqs = boto3.client("sqs")
message = sqs.send_message(
    QueueUrl=sqs.get_queue_url(QueueName=sys.argv[1])["QueueUrl"],
    MessageBody=json.dumps(payload),
    MessageAttributes={"Correlation-Id": {"DataType": "String", "StringValue": "order-7"}},  # optional
)
print(message["MessageId"])  # noqa: T201 the request's id; the notification has it, too
