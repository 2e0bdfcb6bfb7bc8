"""The compose file's LocalStack gets the resources that tests and demo work with."""

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from devtools.localstack import CHECKOUT, installed_python, running_localstack
from devtools.samples import SOURCE_JPG
from devtools.stack import CREW_RETENTION, Names, create_stack

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

pytestmark = pytest.mark.localstack

SCRIPT = CHECKOUT / "deploy" / "localstack" / "create-resources.sh"


def test_the_init_script_makes_the_stack(tmp_path: Path) -> None:
    # given the image's `awslocal`, which is the AWS CLI with LocalStack's address, and a server of our own
    cli = installed_python().with_name("aws")
    awslocal = tmp_path / "awslocal"
    with running_localstack(services=("s3", "sqs")) as server:
        awslocal.write_text(f'#!/bin/sh\nexec "{cli.with_name("python")}" "{cli}" --endpoint-url {server.url} "$@"\n')
        awslocal.chmod(0o755)
        environment = {
            **server.environment,
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "HOME": str(tmp_path),
            "SOURCE_JPG": str(SOURCE_JPG),
        }
        # when the script runs
        subprocess.run([SCRIPT], env=environment, check=True, timeout=120)
        # then all is there
        s3: S3Client = server.client("s3")
        sqs: SQSClient = server.client("sqs")
        names = Names()
        assert {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]} == {
            names.source_bucket,
            names.archive_bucket,
        }
        assert s3.get_object(Bucket=names.source_bucket, Key="source.jpg")["Body"].read() == SOURCE_JPG.read_bytes()
        queues = sqs.list_queues()["QueueUrls"]
        assert len(queues) == 5
        for name in (names.input_queue, names.output_queue):
            url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
            policy = json.loads(
                sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["RedrivePolicy"])["Attributes"]["RedrivePolicy"]
            )
            assert policy["deadLetterTargetArn"].endswith(f":{name}-dlq")
            assert int(policy["maxReceiveCount"]) == 50
        crew = sqs.get_queue_url(QueueName=names.crew_queue)["QueueUrl"]
        found = sqs.get_queue_attributes(QueueUrl=crew, AttributeNames=["All"])["Attributes"]
        assert int(found["MessageRetentionPeriod"]) == CREW_RETENTION
        assert "RedrivePolicy" not in found
        # and the stack of the tests is the same: creating it over this one changes nothing
        create_stack(server, max_receive_count=50)
        assert sqs.list_queues()["QueueUrls"] == queues
