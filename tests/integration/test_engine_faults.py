"""The engine over LocalStack, through a proxy that breaks requests: right archives, right verdicts, nothing left."""

import base64
import io
import json
import subprocess
import sys
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
from botocore.config import Config

from archiver.archive.pipeline import Services, build_archive
from archiver.archive.plan import Part
from archiver.archive.storage import UploadedPart
from archiver.archive.streaming import Streaming
from archiver.archive.traffic import Traffic
from archiver.errors import (
    DestinationUnavailable,
    SourceAccessDenied,
    SourceArchived,
    StorageUnavailable,
    TransientError,
)
from archiver.settings import Settings
from archiver.wiring import open_services
from devtools.faults import (
    ACCESS_DENIED,
    SLOW_DOWN,
    Answer,
    Cut,
    Fault,
    Flip,
    Page,
    Request,
    Reset,
    at_random,
    first_of,
    no_faults,
    on,
)
from devtools.localstack import LocalStack
from devtools.proxy import Proxy, running_proxy
from devtools.stack import Stack
from tests.support.jobs import delivery, files, logged, noise

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

pytestmark = pytest.mark.localstack
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Engine:
    """The real services of one stack, whose requests pass a proxy."""

    services: Services
    proxy: Proxy
    s3: "S3Client"
    stack: Stack

    def put(self, key: str, content: bytes, **options: Any) -> None:
        self.s3.put_object(Bucket=self.stack.source_bucket, Key=key, Body=content, **options)

    def archive(self, key: str) -> dict[str, bytes]:
        body = self.s3.get_object(Bucket=self.stack.archive_bucket, Key=key)["Body"].read()
        with zipfile.ZipFile(io.BytesIO(body)) as opened:
            assert opened.testzip() is None
            return {name: opened.read(name) for name in opened.namelist()}

    def unfinished(self) -> list[str]:
        uploads = self.s3.list_multipart_uploads(Bucket=self.stack.archive_bucket).get("Uploads", [])
        return [upload["UploadId"] for upload in uploads]


@pytest.fixture
def engine(localstack: LocalStack, stack: Stack, s3: "S3Client", monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    with running_proxy(localstack.url) as proxy:
        for name, value in {**localstack.environment, **stack.environment, "AWS_ENDPOINT_URL": proxy.url}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("PART_SIZE_MIB", "5")
        # Whatever can be copied is, whatever the requests cost.
        monkeypatch.setenv("WORKER_GIB_DOLLARS", "1000")
        settings = Settings()
        yield Engine(open_services(settings), proxy, s3, stack)


def three_photos(engine: Engine, **options: Any) -> dict[str, bytes]:
    contents = {f"photo {n} ü.jpg": noise((11 + n) * MIB + n, seed=n) for n in range(3)}
    for key, content in contents.items():
        engine.put(key, content, **options)
    return contents


class TestABadDay:
    @pytest.mark.parametrize("seed", [1, 2, 3])
    def test_of_twenty_percent_faults_ends_with_the_right_archive(self, engine: Engine, seed: int) -> None:
        # Given large and small objects, and a fifth of all requests failed, refused, cut short or reset,
        contents = three_photos(engine) | {f"small/{n}.txt": noise(500 + n, seed=n) for n in range(30)}
        for key in list(contents)[3:]:
            engine.put(key, contents[key])
        engine.proxy.set_faults(at_random(0.2, seed=seed))

        # when it is built, with redeliveries as SQS would make them,
        for attempt in range(1, 6):
            try:
                result = build_archive(files(*contents), delivery=delivery(attempt), services=engine.services)
                break
            except TransientError:
                continue
        else:
            pytest.fail("five attempts were not enough")
        struck = engine.proxy.counts().faults
        engine.proxy.set_faults(no_faults)

        # then the archive is right, and nothing else is there.
        assert sum(struck.values()) >= 6, struck
        assert engine.archive(result.key) == {key.rpartition("/")[2]: content for key, content in contents.items()}
        assert engine.unfinished() == []

    @pytest.mark.parametrize(
        ("operation", "fault"),
        [
            ("GetObject", Cut()),
            ("GetObject", Flip()),
            ("GetObject", Reset()),
            ("GetObject", SLOW_DOWN),
            ("UploadPart", SLOW_DOWN),
            ("UploadPart", Reset()),
            ("UploadPart", Reset(effect=True)),
            ("UploadPart", Answer(200, "InternalError", effect=True)),
        ],
        ids=[
            "cut read",
            "other bytes",
            "reset read",
            "slow down of reads",
            "slow down of parts",
            "reset part",
            "lost answer",
            "error in a success",
        ],
    )
    def test_a_stream_that_does_not_end_well_does_no_harm(
        self, engine: Engine, operation: str, fault: Fault, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Given photos that go out while they come in, but for the first parts of so little memory,
        contents = {f"{n}.jpg": noise(2 * MIB + n, seed=n) for n in range(15)}
        for key, content in contents.items():
            engine.put(key, content, ChecksumAlgorithm="CRC32")
        services = open_services(Settings(memory_mib=16))
        begun = threading.Event()
        ends: list[bool] = []
        put = Streaming.put

        def noted(self: Streaming, part: Part) -> UploadedPart | None:
            begun.set()
            uploaded = put(self, part)
            ends.append(uploaded is not None)
            return uploaded

        def strike(request: Request) -> Fault | None:
            if not begun.is_set() or request.operation != operation:
                return None
            engine.proxy.set_faults(no_faults)
            return fault

        monkeypatch.setattr(Streaming, "put", noted)
        engine.proxy.set_faults(strike)

        # when a request of one of them goes wrong,
        result = build_archive(files(*contents), delivery=delivery(), services=services)

        # then the others end well all the same, and the archive is right.
        assert sum(engine.proxy.counts().faults.values()) == 1
        assert len(ends) >= 2
        assert ends.count(False) <= 1
        assert engine.archive(result.key) == contents
        assert engine.unfinished() == []

    def test_of_lost_answers_leaves_nothing_behind(self, engine: Engine) -> None:
        """What S3 has done although the answer said otherwise is done once."""
        contents = three_photos(engine)
        lost = Answer(500, "InternalError", effect=True)
        engine.proxy.set_faults(
            first_of(*(on(operation, lost, times=1) for operation in (
                "CreateMultipartUpload", "UploadPart", "UploadPartCopy", "CompleteMultipartUpload"
            )))
        )  # fmt: skip

        result = build_archive(files(*contents), delivery=delivery(), services=engine.services)

        assert engine.proxy.counts().faults["Answer"] == 4
        assert engine.archive(result.key) == contents
        assert engine.unfinished() == []

    @pytest.mark.parametrize("copied", [Answer(200, "InternalError"), Answer(200, "SlowDown", effect=True), Page()])
    def test_an_error_inside_a_success_is_an_error(self, engine: Engine, copied: Fault) -> None:
        contents = three_photos(engine)
        engine.proxy.set_faults(
            first_of(
                on("UploadPartCopy", copied, times=1),
                on("CompleteMultipartUpload", Answer(200, "InternalError"), times=1),
            )
        )

        result = build_archive(files(*contents), delivery=delivery(), services=engine.services)

        assert sum(engine.proxy.counts().faults.values()) == 2
        assert result.bytes_copied > 0
        assert engine.archive(result.key) == contents


class TestRefusals:
    def test_of_copies_are_read_instead(self, engine: Engine) -> None:
        contents = three_photos(engine)
        engine.proxy.set_faults(on("UploadPartCopy", ACCESS_DENIED))

        with logged() as lines:
            result = build_archive(files(*contents), delivery=delivery(), services=engine.services)

        assert engine.archive(result.key) == contents
        assert result.bytes_copied == 0
        refused = [line for line in lines if line["event"] == "copy refused: the object is read instead"]
        assert refused
        assert refused[0]["reason"].startswith("AccessDenied")
        assert engine.unfinished() == []

    @pytest.mark.parametrize(
        ("head", "get", "verdict"),
        [
            (Answer(400, ""), Answer(400, "ExpiredToken"), StorageUnavailable),
            (Answer(403, ""), Answer(403, "InvalidAccessKeyId"), StorageUnavailable),
            (Answer(403, ""), Answer(403, "RequestTimeTooSkewed"), StorageUnavailable),
            (Answer(403, ""), ACCESS_DENIED, SourceAccessDenied),
            (Answer(403, ""), Answer(403, "InvalidObjectState"), SourceArchived),
            (Answer(403, ""), None, StorageUnavailable),
        ],
    )
    @pytest.mark.parametrize("size", [10, 6 * MIB])
    def test_are_permanent_only_where_the_object_is_meant(
        self, engine: Engine, head: Fault, get: Fault | None, verdict: type[Exception], size: int
    ) -> None:
        """S3 answers a HEAD without a body: only a GET tells an expired credential from an object we may not read."""
        for key in ("p/a", "p/b"):
            engine.put(key, noise(size))
        # Of the larger ones a listing tells the size, so that a HEAD follows.
        payload = files("p/a", "p/b") if size == 10 else files("p/")
        # Looks bring small objects along by GET; the first one must fail for a HEAD to follow.
        first_get = on("GetObject", get or SLOW_DOWN, times=1)
        engine.proxy.set_faults(first_of(on("HeadObject", head), on("GetObject", get) if get else first_get))

        if get is None and size == 10:
            # boto3 asks again after a 503 and gets the object itself: there is no need for a HEAD.
            assert build_archive(payload, delivery=delivery(), services=engine.services).files == 2
            return
        with pytest.raises(verdict):
            build_archive(payload, delivery=delivery(), services=engine.services)

    def test_by_the_destination_are_transient(self, engine: Engine) -> None:
        contents = three_photos(engine)
        engine.proxy.set_faults(on("CreateMultipartUpload", ACCESS_DENIED))

        with pytest.raises(DestinationUnavailable):
            build_archive(files(*contents), delivery=delivery(), services=engine.services)


class TestSlowDown:
    def test_narrows_the_throttle_and_does_not_fail_the_build(self, engine: Engine) -> None:
        contents = {f"{n}.txt": noise(100_000 + n, seed=n) for n in range(40)}
        for key, content in contents.items():
            engine.put(key, content)
        engine.proxy.set_faults(first_of(on("HeadObject", SLOW_DOWN, times=6), on("GetObject", SLOW_DOWN, times=6)))
        throttle: Any = engine.services.sources.__closure__
        throttle = next(cell.cell_contents for cell in throttle if type(cell.cell_contents).__name__ == "Throttle")
        widest = throttle.width
        narrowest = [widest]
        slow_down = throttle.slow_down

        def noticed() -> None:
            slow_down()
            narrowest.append(throttle.width)

        throttle.slow_down = noticed
        result = build_archive(files(*contents), delivery=delivery(), services=engine.services)

        assert engine.archive(result.key) == contents
        assert min(narrowest) <= widest / 2


class TestTraffic:
    """Most bytes never leave S3, whatever it stores of them. Bodies are counted on the wire."""

    @pytest.mark.parametrize(
        ("kind", "mib"), [("put_object", 24), ("upload_file", 24), ("CRC64NVME", 11), ("none", 24), ("SHA256", 64)]
    )
    def test_of_large_objects(self, engine: Engine, localstack: LocalStack, kind: str, mib: int) -> None:
        # Given large objects, stored in each of the ways that people store them
        # (one and the same where the test's own checksum takes its time),
        contents = {f"{n}.bin": noise(mib * MIB, seed=0 if kind == "CRC64NVME" else n) for n in range(4)}
        store = storing(localstack, engine.stack.source_bucket, kind)
        for key, content in contents.items():
            store(f"large/{key}", content)
        engine.proxy.reset()

        # when they are archived, their sizes told by a listing (a look at one alone is hung up on when it has begun),
        result = build_archive(files("large/"), delivery=delivery(), services=engine.services)

        # then a head of 5 MiB of each is read and sent: at 128 MiB an object, 0.08 of the archive.
        counts = engine.proxy.counts()
        assert counts.bytes_both <= 4 * 2 * 5 * MIB + 50_000
        assert counts.bytes_both == pytest.approx(result.bytes_read + result.bytes_uploaded, abs=50_000)
        assert result.bytes_copied >= 4 * (mib - 5) * MIB - MIB
        body = engine.s3.get_object(Bucket=result.bucket, Key=result.key)["Body"].read()
        assert result.crc32 == f"{zlib.crc32(body):08x}"
        with zipfile.ZipFile(io.BytesIO(body)) as opened:
            assert {info.filename: info.CRC for info in opened.infolist()} == {
                key: zlib.crc32(content) for key, content in contents.items()
            }
            assert opened.testzip() is None

    def test_counts_every_request(self, engine: Engine) -> None:
        """Those by libcurl and those by boto3, and of each the attempts that S3 slowed down."""
        contents = three_photos(engine) | {f"small/{n}.txt": noise(500 + n, seed=n) for n in range(5)}
        for key in list(contents)[3:]:
            engine.put(key, contents[key])
        slowed = ("GetObject", "HeadObject", "UploadPart", "UploadPartCopy", "CompleteMultipartUpload")
        engine.proxy.reset()
        engine.proxy.set_faults(first_of(*(on(operation, SLOW_DOWN, times=1) for operation in slowed)))
        traffic = Traffic()

        with traffic.counting():
            build_archive(files(*contents), delivery=delivery(), services=engine.services, traffic=traffic)

        counts = engine.proxy.counts()
        assert sum(counts.faults.values()) >= 4
        of_sqs = counts.requests["GetQueueUrl"] + counts.requests["SendMessage"]
        assert traffic.requests == sum(counts.requests.values()) - of_sqs


def storing(localstack: LocalStack, bucket: str, kind: str) -> Callable[[str, bytes], object]:
    config = Config(request_checksum_calculation="when_required") if kind == "none" else None
    client: S3Client = localstack.client("s3", config=config)
    if kind == "upload_file":
        return lambda key, content: client.upload_fileobj(io.BytesIO(content), bucket, key)
    extra: dict[str, Any] = {"ChecksumAlgorithm": kind} if kind == "SHA256" else {}
    if kind == "CRC64NVME":
        return lambda key, content: client.put_object(
            Bucket=bucket, Key=key, Body=content, ChecksumCRC64NVME=crc64nvme(content)
        )
    return lambda key, content: client.put_object(Bucket=bucket, Key=key, Body=content, **extra)


@cache
def crc64nvme(content: bytes) -> str:
    """The checksum that the AWS CLI sends. boto3 computes it with a compiled extension alone; a table does here."""
    table = list(range(256))
    for _ in range(8):
        table = [value >> 1 ^ (0x9A6C_9329_AC4B_C9B5 if value & 1 else 0) for value in table]
    register = 0xFFFF_FFFF_FFFF_FFFF
    for byte in content:
        register = table[(register ^ byte) & 0xFF] ^ register >> 8
    return base64.b64encode((register ^ 0xFFFF_FFFF_FFFF_FFFF).to_bytes(8, "big")).decode()


class TestAKilledJob:
    @pytest.mark.parametrize(
        ("checksum", "mib"), [("CRC32", 24), ("SHA256", 24), pytest.param("SHA256", 128, marks=pytest.mark.chaos)]
    )
    def test_resumes_with_the_missing_parts(self, engine: Engine, checksum: str, mib: int) -> None:
        # Given large objects, and a worker that dies halfway, all its requests failing from then on,
        contents = {f"{n}.bin": noise(mib * MIB + n, seed=n) for n in range(4)}
        for key, content in contents.items():
            engine.put(key, content, ChecksumAlgorithm=checksum)
        engine.proxy.reset()
        engine.proxy.set_faults(first_of(on("UploadPartCopy", DENY, skip=2), on("UploadPart", DENY, skip=3)))
        with pytest.raises((DestinationUnavailable, StorageUnavailable)):
            build_archive(files(*contents), delivery=delivery(), services=engine.services)
        engine.proxy.set_faults(no_faults)
        (upload_id,) = engine.unfinished()
        (key,) = {
            upload["Key"] for upload in engine.s3.list_multipart_uploads(Bucket=engine.stack.archive_bucket)["Uploads"]
        }
        parts = engine.s3.list_parts(Bucket=engine.stack.archive_bucket, Key=key, UploadId=upload_id)["Parts"]
        there = [part["PartNumber"] for part in parts if part["PartNumber"] < 10_000]
        assert there
        engine.proxy.reset()

        # when the message comes back,
        result = build_archive(files(*contents), delivery=delivery(attempt=2), services=engine.services)

        # then only what is missing is sent: four heads, the copies of four objects, a directory in the last part.
        requests = engine.proxy.counts().requests
        assert requests.get("CreateMultipartUpload", 0) == 0
        sent = requests.get("UploadPart", 0) + requests.get("UploadPartCopy", 0)
        pieces = -(-(mib - 5) // 32)
        assert sent + len(there) == 4 + 4 * pieces + 1
        assert engine.archive(result.key) == contents
        assert engine.unfinished() == []


#: What S3 answers where the credentials have gone bad: nothing is retried, nothing is read instead.
DENY = Answer(403, "InvalidAccessKeyId")


class TestDeflating:
    def test_a_large_table_keeps_memory_flat(self, engine: Engine) -> None:
        # Given a table that is much larger than what the worker may hold, and deflates to half,
        rows = noise(1_500_000).hex().encode()
        table = b"".join(rows[at : at + 60] + b"\n" for at in range(0, len(rows), 60)) * 60
        assert len(table) > 170 * MIB
        engine.put("table.csv", table)
        engine.put("photo.jpg", noise(12 * MIB))
        payload = files("table.csv", "photo.jpg") | {"compression": "auto"}

        # when a process of its own archives it,
        code = (
            "import json, pathlib, sys\n"
            "from archiver.archive.pipeline import Delivery, build_archive\n"
            "from archiver.wiring import services\n"
            "job = Delivery(request_id='r', sent_at=0.0)\n"
            "result = build_archive(json.loads(sys.argv[1]), delivery=job, services=services())\n"
            # Not ru_maxrss, which starts with the size of the process that forked.
            "peak = int(pathlib.Path('/proc/self/status').read_text().partition('VmHWM:')[2].split()[0])\n"
            "print(json.dumps([result.key, result.size, peak]), file=sys.stderr)\n"
        )
        done = subprocess.run([sys.executable, "-c", code, json.dumps(payload)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        key, size, peak_kib = json.loads(done.stderr.splitlines()[-1])

        # then the archive is right and the process stayed below 200 MiB.
        assert size < 0.65 * len(table)
        assert peak_kib < 200 * 1024
        assert engine.archive(key) == {"table.csv": table, "photo.jpg": noise(12 * MIB)}
        assert engine.unfinished() == []
