"""The pointer that Amazon's SQS Extended Client Library sends in place of a payload that is too large for a message.

``["software.amazon.payloadoffloading.PayloadS3Pointer", {"s3BucketName": …, "s3Key": …}]``: a class of its Java and
Python libraries, and its fields. https://github.com/awslabs/payload-offloading-java-common-lib-for-aws
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

from archiver.archive.document import Document, DocumentError, read
from archiver.archive.location import Location, check_key
from archiver.archive.request import payload_document
from archiver.errors import InvalidPayload, LimitExceeded, shown

#: The name since version 1.1 of the library, which is what we send, and the one before.
CLASSES = ("software.amazon.payloadoffloading.PayloadS3Pointer", "com.amazon.sqs.javamessaging.MessageS3Pointer")
#: The attribute by which the libraries know a pointer: the payload's size in bytes.
SIZE_ATTRIBUTE = "ExtendedPayloadSize"
#: The longest pointer in characters: a bucket and a key, each character of which may be escaped.
_LONGEST = 16 * 1024

_POINTER = re.compile(rf"\s*\[\s*\"(?:{'|'.join(map(re.escape, CLASSES))})\"\s*,(?P<fields>.*)\]\s*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Payloads:
    """Where payloads may lie that pointers lead to. ``fetch`` reads one of them as text."""

    buckets: tuple[str, ...] = ()
    fetch: Callable[[Location], str] = str

    def open(self, payload: object) -> Document:
        """The payload's JSON, wherever it is; a document may be a pointer that nobody has followed yet.

        Raises ``InvalidPayload`` where it is none, ``LimitExceeded`` where it lies in another bucket, and what
        ``fetch`` raises.
        """
        text = payload.text if isinstance(payload, Document) else payload
        pointed = pointed_at(text) if isinstance(text, str) else None
        if pointed is None:
            return payload_document(payload)
        if pointed.bucket not in self.buckets:
            raise LimitExceeded(f"s3BucketName: {shown(pointed.bucket)} is not in PAYLOAD_BUCKETS")
        return payload_document(self.fetch(pointed))


def is_pointer(text: str) -> bool:
    """Whether the text of a message is a pointer, good or bad."""
    return len(text) <= _LONGEST and _POINTER.fullmatch(text) is not None


def pointed_at(text: str) -> Location | None:
    """The object that a pointer names; None where the text is no pointer. Raises ``InvalidPayload`` for a bad one."""
    match = _POINTER.fullmatch(text) if len(text) <= _LONGEST else None
    if match is None:
        return None
    try:
        fields = read(match["fields"]).value
    except DocumentError as error:
        raise InvalidPayload(f"the pointer to the payload {error}") from None
    bucket, key = fields.get("s3BucketName"), fields.get("s3Key")
    for name, value in (("s3BucketName", bucket), ("s3Key", key)):
        if not isinstance(value, str) or not value:
            raise InvalidPayload(f"{name}: a pointer names it as text, got {shown(value)}")
    try:
        return check_key(Location(str(bucket), str(key)))
    except ValueError as error:
        raise InvalidPayload(f"s3Key: {error}, got {shown(key)}") from None


def pointer_to(location: Location) -> str:
    """The pointer to an object."""
    return json.dumps([CLASSES[0], {"s3BucketName": location.bucket, "s3Key": location.key}], separators=(",", ":"))
