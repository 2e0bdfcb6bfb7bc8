"""An archive's object: what asks for its upload, or for all of it, as botocore would ask, and what answers are one."""

from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.archive.record import ArchiveRecord, content_disposition
from archiver.archive.storage import ArchiveExists, ArchiveObject, StoredArchive
from archiver.archive.traffic import Traffic
from archiver.aws.creation import read_creation
from archiver.aws.endpoints import Endpoints
from archiver.aws.exchange import ATTEMPTS
from archiver.aws.multipart import S3Uploads
from archiver.aws.objects import encode_crc32
from archiver.aws.throttle import Throttle
from archiver.errors import DestinationUnavailable, StorageUnavailable
from tests.unit.aws.test_copies import FOREIGN, PAGE, Here, client, error, keys, parts_of, sent_by_botocore, uploads_by
from tests.unit.aws.test_http import Server, answers

__all__ = ["client"]  # a fixture

CREATED = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n<InitiateMultipartUploadResult '
    b'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Bucket>archives</Bucket><Key>k</Key>'
    b"<UploadId>u/+=&amp;1</UploadId></InitiateMultipartUploadResult>"
)
METADATA = ArchiveRecord("0" * 64, 3).as_metadata()
ARCHIVE = ArchiveObject("k", METADATA, None)

archives = st.builds(
    ArchiveObject,
    key=keys,
    metadata=st.builds(ArchiveRecord, st.just("a" * 64), st.integers(1, 9), st.just(()) | st.just((1, 2))).map(
        ArchiveRecord.as_metadata
    ),
    content_disposition=st.none()
    | st.text(st.characters(exclude_categories=["Cs"]), min_size=1).map(content_disposition),
    tags=st.dictionaries(st.text(st.sampled_from("abc üß+&="), min_size=1), st.text(st.sampled_from("xyz é/%"))).map(
        lambda tags: tuple(tags.items())
    ),
    storage_class=st.none() | st.just("STANDARD_IA"),
    overwrite=st.booleans(),
)


def uploads(server: Server, endpoints: Any = None) -> S3Uploads:
    return uploads_by(server, endpoints or Here("http://127.0.0.1:1"), Throttle(8), Traffic())


def told(archive: ArchiveObject) -> dict[str, Any]:
    """An archive as botocore has it."""
    optional = {"ContentDisposition": archive.content_disposition, "StorageClass": archive.storage_class}
    tags = "&".join(f"{quoted(name)}={quoted(value)}" for name, value in archive.tags)
    return {
        "Key": archive.key,
        "ContentType": "application/zip",
        "Metadata": archive.metadata,
        **{name: value for name, value in optional.items() if value},
        **({"Tagging": tags} if tags else {}),
    }


def quoted(text: str) -> str:
    """As a form has it: https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html, x-amz-tagging."""
    return "".join(
        char if char.isascii() and (char.isalnum() or char in "-._~") else "+" if char == " " else
        "".join(f"%{byte:02X}" for byte in char.encode())
        for char in text
    )  # fmt: skip


def asked(headers: Any) -> dict[str, str]:
    """Headers that say what is asked for, in lower case."""
    plain = {
        name.lower(): value.decode() if isinstance(value, bytes) else str(value)
        for name, value in dict(headers).items()
    }
    left_out = ("x-amz-date", "x-amz-content-sha256", "x-amz-request-payer", "x-amz-sdk-checksum-algorithm")
    kinds = ("x-amz-", "content-disposition", "content-type", "if-")
    return {name: value for name, value in plain.items() if name.startswith(kinds) and name not in left_out}


def lines_of(server: Server) -> dict[str, str]:
    (ours,) = server.seen
    pairs = (line.partition(": ") if ": " in line else (line.removesuffix(";"), "", "") for line in ours.headers)
    return asked({name: value for name, _, value in pairs})


@given(archive=archives)
def test_an_upload_is_begun_as_botocore_begins_it(client: Any, archive: ArchiveObject) -> None:
    server = Server(answers(200, CREATED))
    found = uploads(server, Endpoints(client, lambda _region, _config: client)).create(archive)
    its = sent_by_botocore(
        client, "create_multipart_upload", ChecksumAlgorithm="CRC32", ChecksumType="FULL_OBJECT", **told(archive)
    )

    assert found == "u/+=&1"
    assert server.seen[0].method == its.method == "POST"
    path, query = parts_of(server.seen[0].url)
    assert (path, query.removesuffix("=")) == parts_of(its.url)
    assert lines_of(server) == asked(its.headers)


@given(archive=archives)
def test_a_small_archive_is_put_as_botocore_puts_it(client: Any, archive: ArchiveObject) -> None:
    server = Server(answers(200, b"", etag='"e1"', x_amz_version_id="null"))
    found = uploads(server, Endpoints(client, lambda _region, _config: client)).put(archive, b"PK", crc32=7)
    condition = {} if archive.overwrite else {"IfNoneMatch": "*"}
    its = sent_by_botocore(
        client, "put_object", Body=b"PK", ChecksumCRC32=encode_crc32(7), **condition, **told(archive)
    )

    assert found == StoredArchive("e1", 2, None, 7, archive.metadata)
    assert server.seen[0].method == its.method == "PUT"
    assert (server.seen[0].body, parts_of(server.seen[0].url)) == (b"PK", parts_of(its.url))
    assert lines_of(server) == asked(its.headers)


def test_an_answer_without_an_id_is_none() -> None:
    with pytest.raises(ConnectionError, match="no UploadId"):
        read_creation(b"<InitiateMultipartUploadResult/>")


@pytest.mark.parametrize("page", [PAGE, FOREIGN])
def test_a_page_of_somebody_else_begins_nothing(page: bytes) -> None:
    server = Server(*[answers(200, page)] * ATTEMPTS)

    with pytest.raises(StorageUnavailable, match="not what was asked for"):
        uploads(server).create(ARCHIVE)


def test_what_is_denied_is_asked_for_once() -> None:
    server = Server(answers(403, error("AccessDenied")))

    with pytest.raises(DestinationUnavailable, match="AccessDenied"):
        uploads(server).create(ARCHIVE)
    assert len(server.seen) == 1


def test_where_an_archive_is_already_it_is_not_put() -> None:
    server = Server(answers(412, error("PreconditionFailed")))

    with pytest.raises(ArchiveExists):
        uploads(server).put(ARCHIVE, b"PK", crc32=7)


class Asking(S3Uploads):
    """Says which uploads it was asked to abort; there are three under each key."""

    aborted: list[str]

    def uploads_of(self, key: str) -> list[str]:
        return ["lost", "u/+=&1", "older"]

    def abort(self, key: str, upload_id: str) -> None:
        self.aborted.append(upload_id)


@pytest.mark.parametrize(
    ("script", "owner", "aborted"),
    [
        ([200], None, []),
        ([503, 200], None, ["lost", "older"]),
        ([503, 200], "owner", []),
    ],
)
def test_what_an_answer_that_was_lost_may_have_begun_is_aborted(
    script: list[int], owner: str | None, aborted: list[str]
) -> None:
    server = Server(*[answers(status, CREATED if status == 200 else b"") for status in script])
    ours = uploads(server)
    asking = Asking(cast("Any", None), ours._http, bucket="archives", traffic=Traffic(), throttle=Throttle(8))
    asking.aborted = []

    assert asking.create(ArchiveObject("k", METADATA, None, owner=owner)) == "u/+=&1"
    assert asking.aborted == aborted
