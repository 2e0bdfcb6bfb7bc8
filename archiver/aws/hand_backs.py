"""The record of hand-backs: how often a message was given back unfinished, which costs it no attempt.

SQS counts every receive, and nothing of a message can be changed on its queue. So a worker that hands a message back
writes one small object beside the archives, named after the message, and whoever receives it for a second time reads
it. A message that is never handed back costs no request; the bucket's lifecycle rule clears what is left.
"""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from archiver.aws.clients import QUICK, new_client
from archiver.aws.failures import refused_by
from archiver.logs import get_logger

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from archiver.aws.letters import Letter

log = get_logger(__name__)

#: Where the records are, in the bucket of the archives.
PREFIX = "archiver-hand-backs/"
#: Longer than this a stop does not wait for the records, in seconds: handing back in time matters more.
NOTE_SECONDS = 2.0
#: Records written at once.
WIDTH = 8
_NOT_FOUND = 404


class HandBacks:
    """The records in one bucket; without a bucket there are none. Its client is made when first needed."""

    def __init__(self, bucket: str | None, *, region: str | None = None, client: "S3Client | None" = None) -> None:
        self._bucket = bucket
        self._region = region
        self._client = client

    def of(self, letter: "Letter") -> int | None:
        """How many of the letter's earlier receives were handed back; None where S3 does not say.

        Never more than there were. Without the right to list the bucket S3 answers 403 for a record that is not there:
        then there is none. Never raises.
        """
        if self._bucket is None:
            return 0
        try:
            answer = self._s3().get_object(Bucket=self._bucket, Key=_key(letter))
            count = int(json.loads(answer["Body"].read())["hand_backs"])
        except ClientError as error:
            refusal = refused_by(error)
            if refusal.status != _NOT_FOUND:
                log.warning("hand-backs could not be read", sqs_message_id=letter.message_id, error=str(error))
            return 0 if refusal.status < 500 else None
        except Exception as error:
            log.warning("hand-backs could not be read", sqs_message_id=letter.message_id, error=repr(error))
            return None
        return max(0, min(count, letter.receive_count - 1))

    def note(self, letters: "Sequence[Letter]") -> None:
        """Count the present receive of each letter among its hand-backs, all within ``NOTE_SECONDS``.

        Never raises: a hand-back that is not noted costs its message an attempt.
        """
        if self._bucket is None or not letters:
            return
        try:
            client = self._s3()
        except (BotoCoreError, ValueError) as error:
            log.warning("hand-backs not noted, each costs an attempt", messages=len(letters), error=str(error))
            return
        threads = ThreadPoolExecutor(WIDTH, thread_name_prefix="hand-backs")
        try:
            writes = [threads.submit(self._note, client, self._bucket, letter) for letter in letters]
            _, late = wait(writes, NOTE_SECONDS)
            if late:
                log.warning("hand-backs not noted in time, each costs an attempt", messages=len(late))
        finally:
            threads.shutdown(wait=False, cancel_futures=True)

    @staticmethod
    def _note(client: "S3Client", bucket: str, letter: "Letter") -> None:
        if letter.hand_backs is None:
            log.warning("hand-back not noted, since the record could not be read", sqs_message_id=letter.message_id)
            return
        record = json.dumps({"hand_backs": letter.hand_backs + 1})
        try:
            client.put_object(Bucket=bucket, Key=_key(letter), Body=record.encode(), ContentType="application/json")
        except (ClientError, BotoCoreError) as error:
            log.warning("hand-back not noted, it costs an attempt", sqs_message_id=letter.message_id, error=str(error))

    def _s3(self) -> "S3Client":
        if self._client is None:
            self._client = new_client("s3", timeouts=QUICK, region=self._region)
        return self._client


def _key(letter: "Letter") -> str:
    return f"{PREFIX}{letter.message_id}"
