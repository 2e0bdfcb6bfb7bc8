"""The servers that one suite runs on: the in-memory S3 and LocalStack."""

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Protocol

import pytest
from botocore.config import Config
from botocore.credentials import Credentials

from archiver.archive.crew import CrewObjects
from archiver.archive.storage import ArchiveStore, SourceStore
from archiver.archive.traffic import Traffic
from archiver.aws.crew import SharedObjects
from archiver.aws.endpoints import Endpoints
from archiver.aws.exchange import Answer, HttpRequest
from archiver.aws.handles import HttpSettings
from archiver.aws.http import S3Http
from archiver.aws.multipart import S3Uploads
from archiver.aws.objects import S3Objects
from archiver.aws.throttle import Throttle
from archiver.aws.transfers import Transfers
from tests.support.fake_crew import FakeCrewObjects
from tests.support.fake_s3 import MIB, Checksum, FakeS3

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class Server(Protocol):
    """What the suite needs of a server beyond the interfaces under test."""

    bucket: str
    versioned: str
    traffic: Traffic

    @property
    def objects(self) -> SourceStore: ...
    @property
    def uploads(self) -> ArchiveStore: ...
    @property
    def shared(self) -> CrewObjects: ...
    def put(
        self,
        key: str,
        content: bytes,
        *,
        checksum: Checksum = "full",
        bucket: str | None = None,
        archived: bool = False,
    ) -> str | None: ...
    def delete(self, key: str) -> None: ...
    def content(self, key: str) -> bytes: ...
    def set_page(self, size: int) -> None: ...


@dataclass
class FakeServer:
    bucket: str = "bucket"
    versioned: str = "versioned"
    s3: FakeS3 = field(default_factory=FakeS3)
    traffic: Traffic = field(default_factory=Traffic)

    def __post_init__(self) -> None:
        self.s3.create_bucket(self.bucket)
        self.s3.create_bucket(self.versioned, versioned=True)
        self.shared = FakeCrewObjects()
        self.objects = self.s3.objects(self.traffic)
        self.uploads = self.s3.archives(self.bucket)(self.traffic)

    def put(
        self,
        key: str,
        content: bytes,
        *,
        checksum: Checksum = "full",
        bucket: str | None = None,
        archived: bool = False,
    ) -> str | None:
        stored = self.s3.put_object(
            bucket or self.bucket, key, content, checksum=checksum, part_size=5 * MIB, archived=archived
        )
        return stored.version_id

    def delete(self, key: str) -> None:
        self.s3.delete_object(self.bucket, key)

    def content(self, key: str) -> bytes:
        return self.s3.content(self.bucket, key)

    def set_page(self, size: int) -> None:
        self.s3.page = size


class PagedHttp(S3Http):
    """Asks for pages of so many objects, where that is set."""

    page: int | None = None

    def send(self, request: HttpRequest) -> Answer:
        if request.operation == "ListObjectsV2" and self.page is not None:
            request.query = {**request.query, "max-keys": str(self.page)}
        return super().send(request)


class RealServer:
    def __init__(self, client: "S3Client") -> None:
        tag = uuid.uuid4().hex[:10]
        self.client = client
        self.bucket, self.versioned = f"bucket-{tag}", f"versioned-{tag}"
        for bucket in (self.bucket, self.versioned):
            client.create_bucket(Bucket=bucket)
        client.put_bucket_versioning(Bucket=self.versioned, VersioningConfiguration={"Status": "Enabled"})
        self.traffic = Traffic()
        throttle = Throttle(16)
        self.transfers = Transfers(HttpSettings(connect_seconds=5, silent_seconds=60), throttle=throttle)
        self.http = http = PagedHttp(
            self.transfers,
            endpoints=Endpoints(client, lambda _region, _config: client),
            credentials=lambda: Credentials("test", "test"),
        )
        self.objects = S3Objects(client, http, traffic=self.traffic, throttle=throttle)
        self.shared = SharedObjects(client, http, bucket=self.bucket, prefix="archiver-crew/")
        self.uploads = S3Uploads(client, http, bucket=self.bucket, traffic=self.traffic, throttle=throttle)

    def put(
        self,
        key: str,
        content: bytes,
        *,
        checksum: Checksum = "full",
        bucket: str | None = None,
        archived: bool = False,
    ) -> str | None:
        where: dict[str, Any] = {"Bucket": bucket or self.bucket, "Key": key}
        if checksum == "composite":
            self._put_in_parts(where, content)
            return None
        algorithm: Literal["CRC32", "SHA256"] = "CRC32" if checksum == "full" else "SHA256"
        storage: Literal["GLACIER", "STANDARD"] = "GLACIER" if archived else "STANDARD"
        call = partial(self.client.put_object, ChecksumAlgorithm=algorithm, StorageClass=storage)
        return call(**where, Body=content).get("VersionId")

    def set_page(self, size: int) -> None:
        self.http.page = size

    def _put_in_parts(self, where: dict[str, Any], content: bytes) -> None:
        call: Callable[..., Any] = self.client.create_multipart_upload
        upload_id = call(**where, ChecksumAlgorithm="CRC32")["UploadId"]
        parts = []
        for number, at in enumerate(range(0, len(content), 5 * MIB), 1):
            body = content[at : at + 5 * MIB]
            put = partial(self.client.upload_part, ChecksumAlgorithm="CRC32")
            answer = put(**where, UploadId=upload_id, PartNumber=number, Body=body)
            parts.append({"PartNumber": number, "ETag": answer["ETag"], "ChecksumCRC32": answer["ChecksumCRC32"]})
        complete: Callable[..., Any] = self.client.complete_multipart_upload
        complete(**where, UploadId=upload_id, MultipartUpload={"Parts": parts})

    def delete(self, key: str) -> None:
        self.client.delete_object(Bucket=self.bucket, Key=key)

    def content(self, key: str) -> bytes:
        return self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read()


@pytest.fixture(
    params=[
        "fake",
        pytest.param("localstack", marks=pytest.mark.localstack),
    ]
)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    if request.param == "fake":
        yield FakeServer()
        return
    client = request.getfixturevalue("localstack").client(
        "s3",
        config=Config(
            signature_version="s3v4",
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )
    real = RealServer(client)
    yield real
    real.transfers.close()
