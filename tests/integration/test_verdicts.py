"""What S3 says no to, on a real server: whose fault it is, what it is called, and how many requests it takes."""

import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from archiver.archive.pipeline import Services, build_archive
from archiver.errors import (
    DestinationUnavailable,
    MissingSources,
    NoSuchBucket,
    PermanentError,
    SourceAccessDenied,
    SourceArchived,
    SourceUnreadable,
    StorageUnavailable,
)
from archiver.settings import Settings
from archiver.wiring import open_services
from devtools.faults import ACCESS_DENIED, SLOW_DOWN, Answer, Fault, Request, Rule, first_of, no_faults, on
from devtools.localstack import LocalStack
from devtools.proxy import Proxy, running_proxy
from devtools.stack import Stack
from tests.support.command import run
from tests.support.jobs import delivery, files, logged, noise

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

pytestmark = pytest.mark.localstack
MIB = 1024 * 1024
#: What looks at sources.
LOOKS = ("HeadObject", "GetObject", "ListObjectsV2")


@dataclass(frozen=True, slots=True)
class Job:
    """The real services of one stack, whose requests pass a proxy."""

    services: Services
    proxy: Proxy
    s3: "S3Client"
    stack: Stack
    environment: dict[str, str]

    def put(self, key: str, content: bytes, **options: Any) -> None:
        self.s3.put_object(Bucket=self.stack.source_bucket, Key=key, Body=content, **options)

    def build(self, *sources: str, attempt: int = 1, **options: Any) -> dict[str, bytes]:
        """The archive's entries."""
        result = build_archive(files(*sources) | options, delivery=delivery(attempt), services=self.services)
        body = self.s3.get_object(Bucket=result.bucket, Key=result.key)["Body"].read()
        with zipfile.ZipFile(io.BytesIO(body)) as opened:
            assert opened.testzip() is None
            return {name: opened.read(name) for name in opened.namelist()}

    def looks(self) -> int:
        """Requests that looked at sources since the proxy was reset."""
        return sum(self.proxy.counts().requests.get(operation, 0) for operation in LOOKS)


@pytest.fixture
def job(localstack: LocalStack, stack: Stack, s3: "S3Client", monkeypatch: pytest.MonkeyPatch) -> Iterator[Job]:
    with running_proxy(localstack.url) as proxy:
        environment = {**localstack.environment, **stack.environment, "AWS_ENDPOINT_URL": proxy.url}
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("PART_SIZE_MIB", "5")
        # Whatever can be copied is, whatever the requests cost.
        monkeypatch.setenv("WORKER_GIB_DOLLARS", "1000")
        yield Job(open_services(Settings()), proxy, s3, stack, environment)


class TestArchivedSources:
    @pytest.mark.parametrize("size", [100, 11 * MIB])
    @pytest.mark.parametrize("source", ["old/film.mp4", "old/"])
    def test_are_permanent_and_named(self, job: Job, size: int, source: str) -> None:
        job.put("old/film.mp4", noise(size), StorageClass="GLACIER")

        with pytest.raises(SourceArchived, match=r"old/film\.mp4 .*must be restored first"):
            job.build(source, on_missing="skip")

    def test_are_told_by_the_dry_run(self, job: Job) -> None:
        job.put("film.mp4", noise(11 * MIB), StorageClass="DEEP_ARCHIVE")

        outcome = run("plan", "--source", "film.mp4", "--json", environment=job.environment)

        assert (outcome.exit_code, outcome.error["code"]) == (1, "source_archived")
        assert "film.mp4 lies in an archive storage class and must be restored first" in outcome.error["message"]

    def test_that_are_restored_are_sources_like_others(self, job: Job) -> None:
        job.put("film.mp4", b"film", StorageClass="GLACIER")
        job.s3.restore_object(Bucket=job.stack.source_bucket, Key="film.mp4", RestoreRequest={"Days": 1})

        assert job.build("film.mp4") == {"film.mp4": b"film"}

    def test_are_the_sources_fault_where_only_the_copy_finds_out(self, job: Job) -> None:
        job.put("film.mp4", noise(11 * MIB))
        job.proxy.set_faults(on("UploadPartCopy", Answer(403, "InvalidObjectState")))

        with pytest.raises(SourceArchived, match=r"^s3://.*film\.mp4 lies"):
            job.build("film.mp4")


class TestUnreadableSources:
    @pytest.mark.parametrize("size", [100, 11 * MIB])
    def test_under_a_key_of_the_customers_are_permanent(self, job: Job, size: int) -> None:
        job.put("secret.bin", noise(size), SSECustomerAlgorithm="AES256", SSECustomerKey="k" * 32)

        with pytest.raises(SourceUnreadable, match=r"s3://.*/secret\.bin can't be read.*InvalidRequest"):
            job.build("secret.bin")

    def test_of_a_version_that_is_none_are_permanent(self, job: Job) -> None:
        job.put("a", b"a")
        bucket = job.stack.source_bucket

        with pytest.raises(SourceUnreadable, match=r"versionId=no-version can't be read.*InvalidArgument"):
            job.build(f"s3://{bucket}/a?versionId=no-version", on_missing="skip")

    @pytest.mark.parametrize(
        ("code", "verdict"),
        [
            ("InvalidArgument", SourceUnreadable),
            ("KMS.DisabledException", SourceAccessDenied),
            ("KMS.KMSInvalidStateException", SourceAccessDenied),
        ],
    )
    def test_of_other_kinds_are_permanent(self, job: Job, code: str, verdict: type[Exception]) -> None:
        job.put("a", b"a")
        job.proxy.set_faults(first_of(on("HeadObject", Answer(400, "")), on("GetObject", Answer(400, code, "why"))))

        with pytest.raises(verdict, match=f"{code}: why"):
            job.build("a")
        with pytest.raises(verdict, match=f"{code}: why"):
            job.build("a")


class TestFolders:
    def test_that_are_empty_are_directories(self, job: Job) -> None:
        job.put("p/void/", b"")
        job.put("p/full/a", b"a")

        assert job.build("p/void/", "p/full/") == {"void/": b"", "a": b"a"}

    def test_with_an_odd_key_name_it(self, job: Job) -> None:
        job.put("p/a", b"a")
        job.put("p/ .", b"odd")

        with pytest.raises(PermanentError, match=rf"s3://{job.stack.source_bucket}/p/ \.: nothing is left"):
            job.build("p/")


class TestRequests:
    """A source that is not there, or not ours, costs one."""

    def test_for_missing_objects(self, job: Job) -> None:
        job.put("there", b"there")
        job.build("there")  # from here on the bucket's endpoint is known
        job.proxy.reset()

        with pytest.raises(MissingSources) as error:
            job.build(*(f"gone/{n}/{n * 7919}" for n in range(30)))

        assert len(error.value.sources) == 30
        assert 30 <= job.looks() <= 33, "and a few that seek a folder of the name"

    def test_for_missing_objects_among_large_ones(self, job: Job) -> None:
        """Large ones are looked at by HEAD, whose refusal has no body."""
        large = [f"large/{n}" for n in range(6)]
        for key in large:
            job.put(key, noise(200_000))
        assert len(job.build(*large)) == 6
        job.proxy.reset()

        sources = [name for n in range(12) for name in (large[n % 6], f"gone/{n}")]
        job.build(*sources, on_missing="skip")

        requests = job.proxy.counts().requests
        bodies = 12  # each large entry is read once
        assert requests.get("HeadObject", 0) + requests.get("GetObject", 0) - bodies <= 6 + 12 + 8

    @pytest.mark.parametrize("size", [10, 200_000])
    def test_for_a_denied_object(self, job: Job, size: int) -> None:
        for key in ("a", "b"):
            job.put(key, noise(size))
        job.build("a")
        job.proxy.reset()
        job.proxy.set_faults(first_of(on("GetObject", ACCESS_DENIED), on("HeadObject", Answer(403, ""))))

        with pytest.raises(SourceAccessDenied, match="/b is denied"):
            job.build("b")

        assert job.looks() == 1

    def test_without_the_right_to_list_a_denial_says_that_it_may_be_missing(self, job: Job) -> None:
        job.put("a", b"a")
        job.proxy.set_faults(on("GetObject", ACCESS_DENIED))
        with pytest.raises(SourceAccessDenied, match="without s3:ListBucket, S3 answers so for a missing object, too"):
            job.build("a")
        # and how to write what looks like something else
        with pytest.raises(SourceAccessDenied, match=r"for a missing object, too; .* their first name on: write a$"):
            job.build("/a")

        job.proxy.set_faults(on("GetObject", Answer(403, "AccessDenied", "not authorized to perform: kms:Decrypt")))
        with pytest.raises(SourceAccessDenied) as error:
            job.build("a")
        assert "ListBucket" not in error.value.message

    def test_that_are_slowed_down_go_on(self, job: Job) -> None:
        contents = {f"{n}.txt": noise(1000, seed=n) for n in range(20)}
        for key, content in contents.items():
            job.put(key, content)
        job.build("0.txt")
        job.proxy.set_faults(on("GetObject", SLOW_DOWN, times=4))

        assert job.build(*contents) == contents


class TestAMissingBucket:
    def test_that_the_payload_names_is_permanent(self, job: Job) -> None:
        job.put("a", b"a")
        for source in ("s3://not-there-at-all/a", "s3://not-there-at-all/p/"):
            with pytest.raises(NoSuchBucket, match="no such bucket: 'not-there-at-all'"):
                job.build("a", source, on_missing="skip")

    @pytest.mark.parametrize("sources", [["a"], ["p/"], [f"many/{n}" for n in range(50)]])
    def test_that_the_settings_name_is_the_services_fault(
        self, job: Job, monkeypatch: pytest.MonkeyPatch, sources: list[str]
    ) -> None:
        monkeypatch.setenv("S3_SOURCE_BUCKET", "not-there-at-all")
        lost = open_services(Settings())

        with pytest.raises(StorageUnavailable, match="no such bucket: 'not-there-at-all', which S3_SOURCE_BUCKET"):
            build_archive(files(*sources) | {"on_missing": "skip"}, delivery=delivery(), services=lost)

    def test_of_the_archives_is_transient_and_named(self, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
        for size in (10, 11 * MIB):
            job.put("a", noise(size))
            monkeypatch.setenv("S3_DESTINATION_BUCKET", "not-there-at-all")
            lost = open_services(Settings())
            with pytest.raises(DestinationUnavailable, match="no such bucket: 'not-there-at-all'"):
                build_archive(files("a"), delivery=delivery(), services=lost)


class TestWithoutTheRight:
    """Resuming is what a role without a right loses, and nothing else."""

    @pytest.mark.parametrize("operation", ["ListMultipartUploads", "ListParts", "HeadObject"])
    def test_a_later_attempt_builds_anew(self, job: Job, operation: str) -> None:
        # given an attempt that ended halfway
        contents = {f"{n}.bin": noise(11 * MIB, seed=n) for n in range(2)}
        for key, content in contents.items():
            job.put(key, content)
        job.proxy.set_faults(on("CompleteMultipartUpload", Answer(403, "InvalidAccessKeyId")))
        with pytest.raises(DestinationUnavailable):
            job.build(*contents)

        # when the next one may not list uploads, or their parts, or see that there is no archive yet
        job.proxy.set_faults(of_the_archives(job.stack, operation, ACCESS_DENIED))
        with logged() as lines:
            built = job.build(*contents, attempt=2)

        # then it builds the archive, and the log says what it does without
        assert built == contents
        warnings = [line["event"] for line in lines if line["log_level"] == "warning"]
        assert any("not ours to" in event for event in warnings)

    @pytest.mark.parametrize(
        ("operation", "check", "right"),
        [
            ("ListMultipartUploads", "unfinished uploads", "s3:ListBucketMultipartUploads"),
            ("ListParts", "unfinished uploads", "s3:ListMultipartUploadParts"),
            ("HeadObject", "destination bucket", "s3:ListBucket"),
        ],
    )
    def test_the_doctor_names_it(self, job: Job, operation: str, check: str, right: str) -> None:
        job.proxy.set_faults(of_the_archives(job.stack, operation, ACCESS_DENIED))

        outcome = run("doctor", "--json", environment=job.environment)

        (found,) = (item for item in outcome.json["checks"] if item["name"] == check)
        assert found["state"] == "warning"
        assert right in found["mend"]
        job.proxy.set_faults(no_faults)


def of_the_archives(stack: Stack, operation: str, fault: Fault) -> Rule:
    """A fault of one operation on the archives' bucket alone."""

    def rule(request: Request) -> Fault | None:
        ours = request.path.startswith(f"/{stack.archive_bucket}")
        return fault if ours and request.operation == operation else None

    return rule
