"""The completion of an upload: what goes over the wire, as botocore would have it, and which answers are one."""

import xml.etree.ElementTree as ET
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.archive.storage import ArchiveExists, ArchiveObject, StoredArchive, UploadedPart, UploadGone
from archiver.archive.traffic import Traffic
from archiver.aws.clients import PATIENT
from archiver.aws.completion import completion_body, read_completion
from archiver.aws.endpoints import Endpoints
from archiver.aws.exchange import ATTEMPTS
from archiver.aws.multipart import SILENT_SECONDS
from archiver.aws.objects import encode_crc32
from archiver.aws.throttle import Throttle
from archiver.errors import ArchiveRefused, StorageUnavailable
from tests.unit.aws.test_copies import FOREIGN, PAGE, Here, client, error, keys, parts_of, sent_by_botocore, uploads_by
from tests.unit.aws.test_http import Server, answers

__all__ = ["client"]  # a fixture

COMPLETED = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n  \n<CompleteMultipartUploadResult '
    b'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Location>l</Location><Bucket>archives</Bucket><Key>k</Key>'
    b"<ETag>&quot;e-2&quot;</ETag><ChecksumType>FULL_OBJECT</ChecksumType></CompleteMultipartUploadResult>"
)
PARTS = [UploadedPart(1, '"e1"', 5 << 20, 42), UploadedPart(2, '"e2"', 100, None)]


def completed(server: Server, key: str = "k", *, overwrite: bool = False, endpoints: Any = None) -> StoredArchive:
    uploads = uploads_by(server, endpoints or Here("http://127.0.0.1:1"), Throttle(8), Traffic())
    archive = ArchiveObject(key, {"m": "1"}, None, overwrite=overwrite)
    return uploads.complete(archive, "u/+=", PARTS, crc32=7, size=(5 << 20) + 100)


def in_words(body: bytes) -> list[Any]:
    """An element's name, text and children."""

    def told(element: ET.Element) -> list[Any]:
        return [element.tag, element.text or "", sorted(map(told, element))]

    return told(ET.fromstring(body))


def completed_by_botocore(client: Any, key: str, *, overwrite: bool) -> Any:
    listed = [
        {"PartNumber": part.number, "ETag": part.etag}
        | ({} if part.crc32 is None else {"ChecksumCRC32": encode_crc32(part.crc32)})
        for part in PARTS
    ]
    return sent_by_botocore(
        client,
        "complete_multipart_upload",
        Key=key,
        UploadId="u/+=",
        MultipartUpload={"Parts": listed},
        ChecksumCRC32=encode_crc32(7),
        ChecksumType="FULL_OBJECT",
        MpuObjectSize=(5 << 20) + 100,
        **({} if overwrite else {"IfNoneMatch": "*"}),
    )


@given(key=keys, overwrite=st.booleans())
def test_it_is_asked_for_as_botocore_asks(client: Any, key: str, *, overwrite: bool) -> None:
    server = Server(answers(200, COMPLETED))
    completed(server, key, overwrite=overwrite, endpoints=Endpoints(client, lambda _region, _config: client))
    its = completed_by_botocore(client, key, overwrite=overwrite)

    (ours,) = server.seen
    headers = dict(cast("tuple[str, str]", line.split(": ", 1)) for line in ours.headers)
    assert ours.method == its.method == "POST"
    assert parts_of(ours.url) == parts_of(its.url)
    assert in_words(cast("bytes", ours.body)) == in_words(its.body)
    asked = {
        name.lower(): text.decode() if isinstance(text, bytes) else text
        for name, text in its.headers.items()
        if name.lower().startswith(("x-amz-checksum", "x-amz-mp", "if-"))
    }
    assert {name: headers.get(name) for name in asked} == asked
    assert len(asked) == (3 if overwrite else 4)
    assert ("if-none-match" in headers) is not overwrite


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1))
def test_an_etag_is_listed_whatever_is_in_it(etag: str) -> None:
    root = ET.fromstring(completion_body([UploadedPart(1, etag, 100, 1)]))
    assert [element.text for element in root.iter() if element.tag.endswith("ETag")] == [etag]


def test_an_answer_tells_etag_and_version() -> None:
    server = Server(answers(200, COMPLETED, x_amz_version_id="v1"))

    found = completed(server)

    assert found == StoredArchive("e-2", (5 << 20) + 100, "v1", 7, {"m": "1"})
    assert [transfer.silent_seconds for transfer in server.seen] == [SILENT_SECONDS]
    assert PATIENT.read < SILENT_SECONDS


def test_an_answer_without_an_etag_is_none() -> None:
    with pytest.raises(ConnectionError, match="no ETag"):
        read_completion(b"<CompleteMultipartUploadResult/>")


@pytest.mark.parametrize(
    "first", [answers(200, error("InternalError")), answers(200, PAGE), answers(200, FOREIGN), answers(503, b"")]
)
def test_what_passes_is_asked_for_again(first: Any) -> None:
    server = Server(first, answers(200, COMPLETED))

    assert completed(server).etag == "e-2"
    assert len(server.seen) == 2


@pytest.mark.parametrize(
    ("status", "code", "meaning"),
    [
        (404, "NoSuchUpload", UploadGone),
        (412, "PreconditionFailed", ArchiveExists),
        (409, "ConditionalRequestConflict", ArchiveExists),
        (400, "BadDigest", ArchiveRefused),
        (400, "InvalidPart", ArchiveRefused),
        (400, "EntityTooSmall", ArchiveRefused),
    ],
)
def test_what_is_refused_is_asked_for_once(status: int, code: str, meaning: type[Exception]) -> None:
    server = Server(answers(status, error(code)))

    with pytest.raises(meaning):
        completed(server)
    assert len(server.seen) == 1


def test_a_page_of_somebody_else_is_no_archive() -> None:
    server = Server(*[answers(200, PAGE)] * ATTEMPTS)

    with pytest.raises(StorageUnavailable, match="not what was asked for"):
        completed(server)
