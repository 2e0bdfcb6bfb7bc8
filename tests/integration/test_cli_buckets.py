"""The commands that work on buckets, on a real server: build, plan, sweep, doctor."""

import io
import json
import signal
import subprocess
import sys
import time
import uuid
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from archiver.archive.upload import MARKER_NUMBER, MARKER_SIZE, OWNER_NUMBER
from archiver.aws.checkpoints import PREFIX as CHECKPOINTS
from devtools.faults import Delay, on
from devtools.localstack import CHECKOUT, LocalStack
from devtools.proxy import running_proxy
from devtools.stack import Names, Stack, create_stack
from tests.support.command import run, run_process
from tests.support.waiting import LONG_ENOUGH, eventually

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

MIB = 1024 * 1024
pytestmark = pytest.mark.localstack


@pytest.fixture(scope="module")
def stack(localstack: LocalStack) -> Stack:
    """One for all tests here: each names its requests anew, and what it finds it compares with before."""
    return create_stack(localstack, names=Names.unique())


@pytest.fixture
def environment(localstack: LocalStack, stack: Stack) -> dict[str, str]:
    # Whatever can be copied is, whatever the requests cost.
    return localstack.environment | stack.environment | {"WORKER_GIB_DOLLARS": "1000"}


@pytest.fixture(scope="module")
def sources(s3: "S3Client", stack: Stack) -> dict[str, bytes]:
    contents = {"source.jpg": b"picture" * 5000, "film.mp4": bytes(range(256)) * 4 * 11 * 1024, "below/a.csv": b"a,b\n"}
    for key, body in contents.items():
        s3.put_object(Bucket=stack.source_bucket, Key=key, Body=body)
    return contents


ALL = ("--source", "source.jpg", "--source", "film.mp4", "--prefix", "below")


@pytest.mark.parametrize("compression", ["stored", "auto"])
def test_build_writes_a_file_and_nothing_to_s3(
    s3: "S3Client",
    stack: Stack,
    environment: dict[str, str],
    sources: dict[str, bytes],
    tmp_path: Path,
    compression: str,
) -> None:
    def in_the_bucket() -> tuple[int, int]:
        uploads = s3.list_multipart_uploads(Bucket=stack.archive_bucket).get("Uploads", [])
        return s3.list_objects_v2(Bucket=stack.archive_bucket)["KeyCount"], len(uploads)

    before = in_the_bucket()
    del environment["S3_DESTINATION_BUCKET"], environment["SQS_SOURCE_QUEUE"]
    path = tmp_path / "file.zip"

    outcome = run(
        "build",
        *ALL,
        "--compression",
        compression,
        "-o",
        str(path),
        "--json",
        "--key",
        "x.zip",
        environment=environment,
    )

    assert outcome.exit_code == 0, outcome
    assert (outcome.json["file"], outcome.json["size"]) == (str(path), path.stat().st_size)
    assert outcome.json["crc32"] == f"{zlib.crc32(path.read_bytes()):08x}"
    with zipfile.ZipFile(path) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {
            key.removeprefix("below/"): body for key, body in sources.items()
        }
    assert list(tmp_path.iterdir()) == [path]
    assert in_the_bucket() == before


def test_build_that_fails_leaves_no_file(environment: dict[str, str], tmp_path: Path) -> None:
    outcome = run("build", "--source", "gone.jpg", "-o", str(tmp_path / "file.zip"), environment=environment)

    assert (outcome.exit_code, outcome.complaint) == (1, "error: 1 missing source(s): gone.jpg (missing_sources)")
    assert list(tmp_path.iterdir()) == []


def test_build_makes_the_archive_and_tells_nobody(
    s3: "S3Client", stack: Stack, environment: dict[str, str], sources: dict[str, bytes]
) -> None:
    environment["SQS_DESTINATION_QUEUE"] = "a-queue-that-does-not-exist"

    outcome = run("build", *ALL, "--json", environment=environment)

    assert outcome.exit_code == 0
    assert outcome.stderr == ""
    result = outcome.json
    archive = s3.get_object(Bucket=stack.archive_bucket, Key=result["key"])["Body"].read()
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        assert {name: opened.read(name) for name in opened.namelist()} == {
            "source.jpg": sources["source.jpg"],
            "film.mp4": sources["film.mp4"],
            "a.csv": sources["below/a.csv"],
        }
    assert (result["size"], result["files"], result["missing"], result["reused"]) == (len(archive), 3, [], False)
    assert result["bytes_copied"] > 5 * MIB
    assert {"request_id", "url", "bucket", "crc32", "etag", "parts", "seconds", "version_id"} <= set(result)


def test_build_under_a_known_id_finds_what_is_there(environment: dict[str, str], sources: dict[str, bytes]) -> None:
    first = run("build", *ALL, "--request-id", "order-7", "--json", environment=environment)
    again = run("build", *ALL, "--request-id", "order-7", environment=environment)

    assert first.exit_code == again.exit_code == 0
    assert again.stdout.splitlines()[0] == f"s3://{first.json['bucket']}/{first.json['key']}"
    assert again.stdout.endswith("an earlier build had it finished\n")


def test_build_reads_standard_input_as_a_process(environment: dict[str, str], sources: dict[str, bytes]) -> None:
    outcome = run_process("build", "-", environment=environment, stdin='{"files": [{"source": "source.jpg"}]}')

    assert (outcome.exit_code, outcome.stderr) == (0, "")
    assert outcome.stdout.splitlines()[-1].startswith("1 file, ")


def test_build_that_is_interrupted_goes_on_under_its_id(
    localstack: LocalStack, environment: dict[str, str], sources: dict[str, bytes]
) -> None:
    # given a build whose completion hangs
    with running_proxy(localstack.url, faults=on("CompleteMultipartUpload", Delay(3_600_000))) as proxy:
        command = [sys.executable, "-m", "archiver", "build", *ALL, "--request-id", "slow"]
        settings = {"PATH": "/usr/bin:/bin", **environment, "AWS_ENDPOINT_URL": proxy.url}
        with subprocess.Popen(
            command,
            env=settings,
            cwd=CHECKOUT,
            stderr=subprocess.PIPE,
            text=True,
            # What runs in the background of a shell ignores it, and so do its children.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 it does nothing else
        ) as process:
            # when somebody presses Ctrl-C
            hangs = eventually(lambda: proxy.counts().requests.get("CompleteMultipartUpload", 0) > 0)
            process.send_signal(signal.SIGINT)
            _, stderr = process.communicate(timeout=LONG_ENOUGH)

    # then it says how to go on, and going on takes what is there
    assert hangs, stderr
    assert process.returncode == 130, stderr
    assert stderr.splitlines()[-1] == "interrupted; --request-id slow goes on with the parts that are there"
    with running_proxy(localstack.url) as proxy:
        again = run("build", *ALL, "--request-id", "slow", environment=environment | {"AWS_ENDPOINT_URL": proxy.url})
        assert (again.exit_code, proxy.counts().requests.get("UploadPartCopy", 0)) == (0, 0)


@pytest.mark.parametrize("command", ["build", "plan"])
def test_missing_sources_are_named(command: str, environment: dict[str, str], sources: dict[str, bytes]) -> None:
    wanted = (command, "--source", "source.jpg", "--source", "gone.jpg")

    failed = run(*wanted, environment=environment)
    told = run(*wanted, "--json", environment=environment)
    skipped = run(*wanted, "--on-missing", "skip", environment=environment)

    assert (failed.exit_code, failed.complaint) == (1, "error: 1 missing source(s): gone.jpg (missing_sources)")
    assert (told.exit_code, told.error["code"]) == (1, "missing_sources")
    assert skipped.exit_code == 0
    assert "gone.jpg" in skipped.stdout + skipped.stderr


@pytest.mark.parametrize("command", ["build", "plan"])
def test_a_place_that_the_settings_do_not_grant_is_named(
    command: str, environment: dict[str, str], sources: dict[str, bytes]
) -> None:
    outcome = run(command, "--source", "source.jpg", "--bucket", "elsewhere", environment=environment)

    assert outcome.exit_code == 1
    assert outcome.complaint.startswith("error: archive.bucket: 'elsewhere' is not in ALLOWED_DESTINATION_BUCKETS")


@pytest.mark.parametrize("command", ["build", "plan"])
def test_a_destination_that_does_not_exist_is_the_settings_fault(command: str, environment: dict[str, str]) -> None:
    outcome = run(command, "--source", "source.jpg", environment=environment | {"S3_DESTINATION_BUCKET": "not-there"})

    assert outcome.exit_code == 1
    assert outcome.complaint.startswith("error: S3_DESTINATION_BUCKET='not-there': there is no such bucket")


def archives(s3: "S3Client", stack: Stack) -> set[str]:
    return {item["Key"] for item in s3.list_objects_v2(Bucket=stack.archive_bucket).get("Contents", ())}


def unfinished(s3: "S3Client", stack: Stack) -> set[str]:
    return {item["Key"] for item in s3.list_multipart_uploads(Bucket=stack.archive_bucket).get("Uploads", ())}


def test_plan_promises_what_build_then_does(
    localstack: LocalStack, s3: "S3Client", stack: Stack, environment: dict[str, str], sources: dict[str, bytes]
) -> None:
    before = archives(s3, stack), unfinished(s3, stack)
    plan = run("plan", *ALL, "--json", environment=environment)
    assert plan.exit_code == 0
    assert (archives(s3, stack), unfinished(s3, stack)) == before

    with running_proxy(localstack.url) as proxy:
        built = run("build", *ALL, "--json", environment=environment | {"AWS_ENDPOINT_URL": proxy.url}).json
        requests = dict(proxy.counts().requests)

    promised = plan.json
    assert requests.pop("HeadBucket") == 1  # the command's own question, whether S3 is there
    assert promised["requests"] == requests
    assert (promised["archive"]["size"], promised["archive"]["files"]) == (built["size"], built["files"])
    assert promised["bytes"]["read"] == built["bytes_read"]
    assert promised["bytes"]["copied"] == built["bytes_copied"]
    assert 0 < promised["cost"]["usd"] < 0.001
    assert "us-east-1" in promised["cost"]["prices"]


def test_plan_shows_a_table(environment: dict[str, str], sources: dict[str, bytes]) -> None:
    outcome = run("plan", *ALL, environment=environment)

    assert outcome.exit_code == 0
    film = next(line for line in outcome.stdout.splitlines() if "film.mp4" in line)
    assert "11.0 MiB" in film
    assert "S3's full-object checksum" in film
    assert "UploadPartCopy" in outcome.stdout
    assert "us-east-1" in outcome.stdout


OURS = f"{'ab' * 32}/download-2026-11-20.zip"
THEIRS = "somebody/else.zip"
OTHER_PREFIX = f"{'ab' * 32}/export-2026-11-20.zip"


@pytest.fixture
def leftovers(s3: "S3Client", stack: Stack) -> None:
    for key in (OURS, THEIRS, OTHER_PREFIX):
        s3.create_multipart_upload(Bucket=stack.archive_bucket, Key=key)


@pytest.mark.usefixtures("leftovers")
def test_sweep_aborts_old_uploads_of_ours_alone(s3: "S3Client", stack: Stack, environment: dict[str, str]) -> None:
    young = run("sweep", "--json", environment=environment)
    assert (young.exit_code, young.json["aborted"], young.json["young"]) == (0, [], 1)

    time.sleep(max(0.0, 1.1 - time.time() % 1))  # S3 tells whole seconds
    promised = run("sweep", "--older-than", "0s", "--dry-run", environment=environment)
    assert promised.stdout.splitlines()[-1] == "1 to abort, 0 younger than that, 2 not ours"
    assert unfinished(s3, stack) == {OURS, THEIRS, OTHER_PREFIX}

    swept = run("sweep", "--older-than", "0s", "--json", environment=environment)
    assert [item["key"] for item in swept.json["aborted"]] == [OURS]
    assert unfinished(s3, stack) == {THEIRS, OTHER_PREFIX}


def test_sweep_knows_the_uploads_of_keys_that_payloads_chose(s3: "S3Client", environment: dict[str, str]) -> None:
    bucket = f"exports-{uuid.uuid4().hex[:10]}"
    s3.create_bucket(Bucket=bucket)
    prefixed = f"team-a/{OURS}"
    for key, sizes in {
        "chosen.zip": {1: 5, OWNER_NUMBER: MARKER_SIZE, MARKER_NUMBER: MARKER_SIZE},
        "theirs.zip": {1: 5, MARKER_NUMBER: MARKER_SIZE},
        "begun.zip": {},
        prefixed: {},
    }.items():
        upload_id = s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
        for number, size in sizes.items():
            s3.upload_part(Bucket=bucket, Key=key, UploadId=upload_id, PartNumber=number, Body=b"x" * size)
    environment["ALLOWED_DESTINATION_BUCKETS"] = bucket

    young = run("sweep", "--json", environment=environment)
    assert young.json["young"] >= 2

    time.sleep(max(0.0, 1.1 - time.time() % 1))  # S3 tells whole seconds
    swept = run("sweep", "--older-than", "0s", "--json", environment=environment)

    aborted = {(item["bucket"], item["key"]) for item in swept.json["aborted"] if item["bucket"] == bucket}
    assert aborted == {(bucket, "chosen.zip"), (bucket, prefixed)}
    left = s3.list_multipart_uploads(Bucket=bucket)["Uploads"]
    assert {upload["Key"] for upload in left} == {"theirs.zip", "begun.zip"}


def test_sweep_deletes_old_checkpoints(s3: "S3Client", stack: Stack, environment: dict[str, str]) -> None:
    keys = {f"{CHECKPOINTS}a", f"{CHECKPOINTS}b", "theirs/a"}
    for key in keys:
        s3.put_object(Bucket=stack.archive_bucket, Key=key, Body=b"x")

    def left() -> set[str]:
        return keys & {found["Key"] for found in s3.list_objects_v2(Bucket=stack.archive_bucket)["Contents"]}

    assert run("sweep", "--json", environment=environment).json["checkpoints"] == 0
    time.sleep(max(0.0, 1.1 - time.time() % 1))  # S3 tells whole seconds
    promised = run("sweep", "--older-than", "0s", "--dry-run", environment=environment)
    assert promised.stdout.splitlines()[0] == "2 checkpoint(s) to delete"
    assert left() == keys
    swept = run("sweep", "--older-than", "0s", "--json", environment=environment)
    assert swept.json["checkpoints"] == 2
    assert left() == {"theirs/a"}


def test_sweep_deletes_what_jobs_have_shared(s3: "S3Client", stack: Stack, environment: dict[str, str]) -> None:
    keys = [f"archiver-crew/{'0' * 64}/{name}" for name in ("plan", "00000")]
    for key in (*keys, "archiver-crew.txt"):
        s3.put_object(Bucket=stack.archive_bucket, Key=key, Body=b"")

    young = run("sweep", "--json", environment=environment)
    assert young.json["shared"] == 0

    time.sleep(max(0.0, 1.1 - time.time() % 1))  # S3 tells whole seconds
    promised = run("sweep", "--older-than", "0s", "--dry-run", environment=environment)
    assert promised.stdout.splitlines()[0] == "2 shared object(s) to delete"
    swept = run("sweep", "--older-than", "0s", "--json", environment=environment)
    assert swept.json["shared"] == 2

    left = {item["Key"] for item in s3.list_objects_v2(Bucket=stack.archive_bucket)["Contents"]}
    assert left & {*keys, "archiver-crew.txt"} == {"archiver-crew.txt"}


def test_sweep_wants_an_age_and_a_bucket(environment: dict[str, str]) -> None:
    ageless = run("sweep", "--older-than", "soon", environment=environment)
    assert (ageless.exit_code, "'soon'" in ageless.complaint) == (2, True)

    lost = run("sweep", "--json", environment=environment | {"S3_DESTINATION_BUCKET": "not-there"})
    assert (lost.exit_code, lost.error["code"]) == (1, "destination_unavailable")


def test_doctor_finds_a_right_deployment_right(
    s3: "S3Client", make_stack: Callable[..., Stack], localstack: LocalStack
) -> None:
    stack = make_stack(max_receive_count=50)
    s3.put_bucket_lifecycle_configuration(
        Bucket=stack.archive_bucket,
        LifecycleConfiguration={
            "Rules": [
                {
                    "ID": "unfinished",
                    "Status": "Enabled",
                    "Filter": {"Prefix": ""},
                    "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 2},
                }
            ]
        },
    )
    right = localstack.environment | stack.environment | {"ARCHIVE_BASE_URL": "https://archives.example"}

    for environment, count in ((right, 11), (right | stack.crew_environment, 15)):
        outcome = run("doctor", "--strict", environment=environment)

        assert outcome.exit_code == 0
        lines = outcome.stdout.splitlines()
        assert len(lines) == count
        assert all(line.startswith("ok ") for line in lines)
    assert not unfinished(s3, stack)


def test_doctor_says_what_is_wrong_with_the_crews_queue(
    sqs: "SQSClient", make_stack: Callable[..., Stack], localstack: LocalStack
) -> None:
    # given a queue that was made as that of the payloads is
    stack = make_stack()
    environment = localstack.environment | stack.environment
    dlq = sqs.get_queue_attributes(QueueUrl=stack.input_dlq_url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sqs.set_queue_attributes(
        QueueUrl=stack.crew_url,
        Attributes={
            "RedrivePolicy": json.dumps({"deadLetterTargetArn": dlq, "maxReceiveCount": "2"}),
            "MessageRetentionPeriod": "345600",
        },
    )

    outcome = run("doctor", "--json", environment=environment | stack.crew_environment)
    missing = run("doctor", "--json", environment=environment | {"SQS_CREW_QUEUE": "not-there"})

    # then each fault is a warning with a command that mends it, and only a queue that is not there is wrong
    checks = {check["name"]: check for check in outcome.json["checks"] if check["name"].startswith("crew")}
    assert {name: check["state"] for name, check in checks.items()} == {
        "crew queue": "ok",
        "crew dead letters": "warning",
        "crew retention": "warning",
        "crew encryption": "ok",
    }
    assert stack.crew_url in checks["crew retention"]["mend"]
    (wrong,) = [check for check in missing.json["checks"] if check["name"].startswith("crew")]
    assert wrong["state"] == "wrong"
    assert "SQS_CREW_QUEUE='not-there'" in wrong["detail"]


def test_doctor_says_what_is_wrong_and_how_to_mend_it(stack: Stack, environment: dict[str, str]) -> None:
    wrong = environment | {
        "SQS_SOURCE_QUEUE": f"{stack.names.input_queue}-dlq",  # has no dead-letter queue of its own
        "SQS_DESTINATION_QUEUE": "not-there",
        "S3_DESTINATION_BUCKET": "not-there",
        "VISIBILITY_TIMEOUT_SECONDS": "6",
    }

    outcome = run("doctor", "--json", environment=wrong)

    assert outcome.exit_code == 1
    assert outcome.json["ok"] is False
    states = {check["name"]: check["state"] for check in outcome.json["checks"]}
    assert states == {
        "settings": "ok",
        "credentials": "ok",
        "source queue": "ok",
        "redrive policy": "wrong",
        "visibility timeout": "warning",
        "destination queue": "wrong",
        "source bucket": "ok",
        "destination bucket": "wrong",
        "unfinished uploads": "wrong",
        "lifecycle rule": "warning",
        "links": "warning",
    }
    assert all(check["mend"] for check in outcome.json["checks"] if check["state"] != "ok")


def test_doctor_takes_warnings_for_faults_where_asked(environment: dict[str, str]) -> None:
    assert run("doctor", environment=environment).exit_code == 0

    strict = run("doctor", "--strict", environment=environment)
    # The stack allows two receives, so that tests of dead letters are quick.
    assert (strict.exit_code, strict.complaint) == (1, "3 of 11 checks failed")


def test_doctor_names_missing_settings(environment: dict[str, str]) -> None:
    del environment["S3_DESTINATION_BUCKET"]

    outcome = run("doctor", environment=environment | {"PART_SIZE_MIB": "4"})

    assert outcome.exit_code == 2
    first, second = sorted(outcome.stdout.splitlines())
    assert "PART_SIZE_MIB='4'" in first
    assert "S3_DESTINATION_BUCKET is not set" in second


@pytest.mark.parametrize("ask", [(), ("--json",)])
def test_doctor_without_a_server_finds_everything_wrong(environment: dict[str, str], ask: tuple[str, ...]) -> None:
    outcome = run("doctor", *ask, environment=environment | {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"})

    assert outcome.exit_code == 1
    lines = [line for line in outcome.stdout.splitlines() if "wrong" in line]
    assert len(lines) == 6
    assert "Traceback" not in outcome.stdout + outcome.stderr
