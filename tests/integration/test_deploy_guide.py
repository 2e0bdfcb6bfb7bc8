"""docs/operations.md, word for word: what it says to type is typed, in a shell, with the AWS CLI."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from devtools.localstack import CHECKOUT, LocalStack, installed_python, running_localstack
from devtools.processes import tail
from devtools.stack import Names, Stack
from devtools.worker import running_worker

pytestmark = [pytest.mark.localstack, pytest.mark.acceptance, pytest.mark.slow]

GUIDE = (CHECKOUT / "docs" / "operations.md").read_text(encoding="utf-8")
#: A line of the guide's, which follows what the worker logs where ECS runs it.
LOGS = "    aws logs tail"
#: LocalStack 4.14 can't always describe a change set that it has made: it answers 500, at which ``deploy`` ends with
#: 'Status'. The change set itself is sound, and is carried out here as ``deploy`` would have done it.
_AWS = """#!/bin/sh
said=$(mktemp)
{command} "$@" 2>"$said" && exit
code=$?
cat "$said" >&2
grep -q "^'Status'$" "$said" || exit $code
stack="--stack-name $4"
name=$({command} cloudformation list-change-sets $stack --query 'Summaries[-1].ChangeSetName' --output text) || exit
state=$({command} cloudformation describe-stacks $stack --query 'Stacks[0].StackStatus' --output text) || exit
kind=update; [ "$state" != REVIEW_IN_PROGRESS ] || kind=create
{command} cloudformation execute-change-set $stack --change-set-name "$name" || exit
{command} cloudformation wait stack-$kind-complete $stack
"""


def commands(heading: str) -> str:
    """The indented lines below a heading, up to the next one."""
    below = GUIDE.partition(f"\n### {heading}\n")[2].partition("\n##")[0]
    assert below, heading
    return "\n".join(line[4:] for line in below.splitlines() if line.startswith("    ") and not line.startswith(LOGS))


def typed(script: str, server: LocalStack, folder: Path) -> str:
    """What ``sh`` prints of it, with the guide's region and this server behind the CLI."""
    cli = installed_python().with_name("aws")
    aws = folder / "aws"
    aws.write_text(_AWS.format(command=f"{cli.with_name('python')} {cli} --endpoint-url {server.url}"))
    aws.chmod(0o755)
    environment = {**server.environment, "PATH": f"{folder}:{os.environ['PATH']}", "HOME": str(folder)}
    ran = subprocess.run(
        ["sh", "-e", "-c", script], cwd=folder, env=environment, capture_output=True, text=True, timeout=200
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr + tail(server.log)
    return ran.stdout


def test_the_guide_deploys_and_makes_an_archive(tmp_path: Path) -> None:
    # given an account with the guide's bucket of sources, in the guide's region, and its checkout
    with running_localstack() as server:
        for name in ("deploy", "README.md"):
            (tmp_path / name).symlink_to(CHECKOUT / name)
        begin = commands("1. Parameters in one file")
        typed(f"{begin}\naws s3 mb s3://my-sources", server, tmp_path)

        # when the messaging stack is deployed, changed, and tried
        deploy = commands("3. The messaging stack")
        change = commands("Events in").partition("aws sns subscribe")[0]
        *attempt, receive = commands("6. Try it").partition("archiver doctor")[0].strip().rpartition("\n")
        said = typed("\n".join([begin, deploy, change, *attempt, "env"]), server, tmp_path)
        settings = dict(line.partition("=")[::2] for line in said.splitlines() if "=" in line)
        stack = Stack(
            names=Names(
                settings["S3_SOURCE_BUCKET"],
                settings["S3_DESTINATION_BUCKET"],
                settings["SQS_SOURCE_QUEUE"],
                settings["SQS_DESTINATION_QUEUE"],
            ),
            input_url=settings["SQS_SOURCE_QUEUE"],
            input_dlq_url=f"{settings['SQS_SOURCE_QUEUE']}-dlq",
            output_url=settings["SQS_DESTINATION_QUEUE"],
            output_dlq_url=f"{settings['SQS_DESTINATION_QUEUE']}-dlq",
        )
        with running_worker(server, stack):
            exports = "".join(
                f"export {name}={settings[name]}\n"
                for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "SQS_DESTINATION_QUEUE")
            )
            notification = json.loads(typed(exports + receive, server, tmp_path))

        # then the notification is of the archive that the guide asks for
        assert notification["status"] == "succeeded"
        assert notification["metadata"] == {"try": 1}
        assert notification["archive"]["bucket"] == settings["S3_DESTINATION_BUCKET"]
