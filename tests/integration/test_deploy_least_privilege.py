"""A real worker on the deployed stack, with the rights of its role and none beside."""

import io
import os
import urllib.request
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from boto3.s3.transfer import TransferConfig

from archiver.archive.location import Location
from archiver.archive.pointer import pointer_to
from devtools.cloudformation import Messaging, deploy_messaging
from devtools.faults import ACCESS_DENIED, Fault, Request, on
from devtools.localstack import LocalStack
from devtools.messages import Message
from devtools.proxy import Proxy, running_proxy
from devtools.worker import Worker, running_worker
from tests.conftest import StackClient
from tests.support.command import run_process
from tests.support.permissions import Permissions

pytestmark = [pytest.mark.localstack, pytest.mark.acceptance]

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def messaging(localstack: LocalStack) -> Messaging:
    name = f"rights-{uuid.uuid4().hex[:10]}"
    s3 = localstack.client("s3")
    s3.create_bucket(Bucket=f"{name}-sources")
    for bucket in ("exports", "payloads"):
        s3.create_bucket(Bucket=f"{name}-{bucket}")
    s3.put_bucket_versioning(Bucket=f"{name}-sources", VersioningConfiguration={"Status": "Enabled"})
    return deploy_messaging(
        localstack.client("cloudformation"),
        name=name,
        source_bucket=f"{name}-sources",
        parameters={
            "VisibilityTimeoutSeconds": "6",
            "MaxReceiveCount": "5",
            "ExtraDestinationBucketArns": f"arn:aws:s3:::{name}-exports",
            "PayloadBucketArns": f"arn:aws:s3:::{name}-payloads",
        },
    )


@pytest.fixture(scope="module")
def permissions(localstack: LocalStack, messaging: Messaging) -> Permissions:
    iam = localstack.client("iam")
    role = messaging.task_role_arn.rsplit("/", 1)[1]
    return Permissions(
        [
            statement
            for name in iam.list_role_policies(RoleName=role)["PolicyNames"]
            for statement in iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]["Statement"]
        ]
    )


@pytest.fixture(scope="module")
def proxy(localstack: LocalStack, permissions: Permissions) -> Iterator[Proxy]:
    with running_proxy(localstack.url, faults=permissions) as running:
        yield running


@pytest.fixture(scope="module")
def worker(localstack: LocalStack, messaging: Messaging, proxy: Proxy) -> Iterator[Worker]:
    settings = {
        "VISIBILITY_TIMEOUT_SECONDS": "6",
        "ALLOWED_SOURCE_BUCKETS": messaging.source_bucket,
        "ALLOWED_DESTINATION_BUCKETS": f"{messaging.name}-exports",
        "PAYLOAD_BUCKETS": f"{messaging.name}-payloads",
        "CREW_MIN_BYTES": str(64 * MIB),
        "WORKER_CONCURRENCY": "2",
        **messaging.stack.crew_environment,
    }
    with running_worker(localstack, messaging.stack, settings=settings, endpoint=proxy.url) as running:
        yield running


@pytest.fixture(scope="module")
def client(localstack: LocalStack, messaging: Messaging) -> StackClient:
    """Sends payloads and takes what comes of them, past the proxy."""
    return StackClient(localstack.client("s3"), localstack.client("sqs"), messaging.stack)


def put(client: StackClient, key: str, body: bytes) -> str:
    """A source in a new version; answers its id."""
    return client.s3.put_object(Bucket=client.stack.source_bucket, Key=key, Body=body)["VersionId"]


def archive(client: StackClient, *sources: str, **destination: Any) -> Message:
    payload = {"files": [{"source": source} for source in sources], "archive": destination}
    return client.notification(client.send(payload))


def refusal(client: StackClient, body: str | dict[str, Any]) -> str:
    client.send(body)
    (message,) = client.dead_letters(1)
    return message.attributes["Error-Code"]


def test_a_full_run_needs_every_right_of_the_role_and_no_other(
    client: StackClient,
    worker: Worker,
    permissions: Permissions,
    proxy: Proxy,
    messaging: Messaging,
    localstack: LocalStack,
) -> None:
    # given sources small and large, with a full-object checksum, with one of parts, and in an older version
    bucket = messaging.source_bucket
    large = os.urandom(24 * MIB)
    put(client, "large", large)
    old = put(client, "folder/small", b"old")
    put(client, "folder/small", b"new")
    old_large = put(client, "changing", os.urandom(20 * MIB))
    put(client, "changing", os.urandom(20 * MIB))
    chunks = TransferConfig(multipart_threshold=6 * MIB, multipart_chunksize=6 * MIB)
    client.s3.upload_fileobj(io.BytesIO(large), bucket, "parts", Config=chunks)
    pinned = client.s3.head_object(Bucket=bucket, Key="parts")["VersionId"]

    # when jobs of every kind pass: small ones and prefixes, copies, versions
    small = archive(client, "folder/")
    archive(client, "large", "parts")
    archive(
        client,
        f"s3://{bucket}/folder/small?versionId={old}",
        f"s3://{bucket}/changing?versionId={old_large}",
        f"s3://{bucket}/parts?versionId={pinned}",
    )

    # and a link is followed, signed by the worker with its role
    with urllib.request.urlopen(small.json["archive"]["url"]) as answer:
        assert answer.read(2) == b"PK"

    # and one whose payload lies in an object
    payloads = f"{messaging.name}-payloads"
    client.s3.put_object(Bucket=payloads, Key="large", Body=b'{"files": [{"source": "folder/small"}]}')
    assert client.notification(client.send(pointer_to(Location(payloads, "large")))).json["status"] == "succeeded"

    # and one that is shared with others: what cannot be copied, in two chunks
    for number in range(40):
        put(client, f"shared/{number}", os.urandom(4 * MIB))
    archive(client, "shared/")
    assert proxy.counts().requests["DeleteObjects"] > 0

    for bucket in (messaging.destination_bucket, f"{messaging.name}-exports"):
        # and one with tags, whose attempt fails at the end, and that is resumed
        permissions.then = on("CompleteMultipartUpload", ACCESS_DENIED, skip=_completed(proxy), times=1)
        archive(client, "large", bucket=bucket, tags={"team": "press"})

        # and one whose source changes between two attempts, so that its upload is of no use
        permissions.then = _RefuseOnceAndChange(client)
        archive(client, "changing", bucket=bucket)

    # and bad ones
    assert refusal(client, {"files": [{"source": "missing"}]}) == "missing_sources"
    assert refusal(client, "no JSON") == "unreadable_message"
    someones = f"s3://{messaging.destination_bucket}/{small.json['archive']['key']}"
    assert refusal(client, {"files": [{"source": someones}]}) == "limit_exceeded"

    # and somebody looks whether all is right, with the worker's role
    environment = localstack.environment | messaging.stack.environment | {"AWS_ENDPOINT_URL": proxy.url}
    environment["AWS_ENDPOINT_URL_STS"] = localstack.url  # nobody needs a right to ask who he is
    doctor = run_process("doctor", "--json", environment=environment)
    assert {check["name"]: check["state"] for check in doctor.json["checks"] if check["state"] == "wrong"} == {}

    # then the role forbade nothing, and nothing in it went unused
    assert permissions.denied == []
    assert permissions.unused == set()


def test_the_permissions_refuse_what_the_role_does_not_name(permissions: Permissions) -> None:
    request = Request("HEAD", "/elsewhere/secret", {}, {}, "HeadObject", 1)

    assert permissions(request) == ACCESS_DENIED
    assert "elsewhere" in permissions.denied.pop()


class _RefuseOnceAndChange:
    """The first completion is denied, and before it a source has changed."""

    def __init__(self, client: StackClient) -> None:
        self._client = client
        self._changed = False

    def __call__(self, request: Request) -> Fault | None:
        if request.operation != "CompleteMultipartUpload" or self._changed:
            return None
        self._changed = True
        put(self._client, "changing", os.urandom(21 * MIB))
        return ACCESS_DENIED


def _completed(proxy: Proxy) -> int:
    return proxy.counts().requests["CompleteMultipartUpload"]
