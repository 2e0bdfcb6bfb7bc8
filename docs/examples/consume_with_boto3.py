"""Hears of finished archives with nothing but boto3.

python docs/examples/consume_with_boto3.py output-queue
"""

import json
import signal
import sys

import boto3

sqs = boto3.client("sqs")
url = sqs.get_queue_url(QueueName=sys.argv[1])["QueueUrl"]
stopped = []
signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))

while not stopped:
    # One at a time: the next one's visibility timeout does not run while this one is handled.
    answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=1, WaitTimeSeconds=20)
    for message in answer.get("Messages", []):
        notification = json.loads(message["Body"])
        # Delivery is at least once: what was done for this request_id before is not to be done again.
        if notification["status"] == "succeeded":
            archive = notification["archive"]
            print(notification["request_id"], archive["key"], flush=True)  # noqa: T201 an example shows what it has
        else:  # failed or cancelled, where the archiver has NOTIFY_FAILURES=1
            print(notification["request_id"], notification["error"]["code"], flush=True)  # noqa: T201 as above
        # Only now: what raised before comes back, and goes to the queue's dead letters in the end.
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
