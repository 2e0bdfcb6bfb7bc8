"""``archiver submit``: a payload goes to the source queue."""

import json
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import click

from archiver.aws.clients import BRIEF
from archiver.aws.dead_letters import reason_of
from archiver.aws.queues import Queue, open_queue
from archiver.cli.failures import FAILED, BadInput
from archiver.cli.look import look_into
from archiver.cli.output import duration, files, json_option, missing_lines, print_json, size
from archiver.cli.payloads import checked, payload_options, read_payload
from archiver.cli.session import brief_client, quiet_logs
from archiver.cli.watch import watching
from archiver.client import ANY_BUCKET, ArchiverClient, IgnoredKey
from archiver.settings import QueueSettings, load
from archiver.text import presentable

_COUNTS = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")


@click.command()
@payload_options
@click.option("--correlation-id", help="Found again in every log line and on the notification.")
@click.option("--tenant", help="Whose job it is; SQS shares a queue fairly between tenants.")
@click.option("--payload-bucket", help="For a payload that no message holds; the first of PAYLOAD_BUCKETS without it.")
@click.option("--wait", is_flag=True, help="Wait for the notification and take it off the queue. For development.")
@click.option("--watch", "watched", is_flag=True, help="Follow its progress, as `archiver watch` does.")
@click.option(
    "--timeout",
    type=click.IntRange(min=1),
    default=300,
    show_default=True,
    help="Seconds to wait at most; with --watch, without any news.",
)
@json_option
@click.pass_context
def submit(
    ctx: click.Context,
    /,
    correlation_id: str | None,
    tenant: str | None,
    payload_bucket: str | None,
    wait: bool,
    watched: bool,
    timeout: int,
    as_json: bool,
    **given: Any,
) -> None:
    """Send a payload to the source queue and print the request's id.

    FILE is the payload's JSON; --source and --prefix make one without a file. With --wait, other notifications on
    the destination queue are looked at once, hidden from their consumer meanwhile, and given back.
    """
    quiet_logs(debug=ctx.find_root().params["debug"])
    payload = read_payload(**given)
    settings = load(QueueSettings)
    checked(payload, max_files=settings.max_files, default_bucket=ANY_BUCKET)
    if wait and watched:
        raise BadInput("--wait and --watch: give one of them")
    if wait and settings.sqs_destination_queue is None:
        raise BadInput("--wait: SQS_DESTINATION_QUEUE is not set, so nobody is notified")
    source = open_queue(
        settings.sqs_source_queue, timeouts=BRIEF, region=settings.aws_region, setting="SQS_SOURCE_QUEUE"
    )
    bucket = next(iter(settings.payload_buckets), None) if payload_bucket is None else payload_bucket
    client = ArchiverClient(
        source.url,
        tenant=tenant,
        sqs=source.client,
        payload_bucket=bucket,
        s3=brief_client("s3", settings) if bucket else None,
    )

    def send() -> str:
        with warnings.catch_warnings(action="ignore", category=IgnoredKey):  # which are told already
            return client.submit_payload(payload, correlation_id=correlation_id)

    if watched:
        with watching(settings, as_json=as_json) as follow:  # from before it is sent
            request_id = send()
            click.echo(json.dumps({"type": "submitted", "uuid": request_id}) if as_json else request_id)
            if not follow(request_id, timeout, True):
                ctx.exit(FAILED)
        return
    request_id = send()
    if not wait or settings.sqs_destination_queue is None:
        print_json({"request_id": request_id}) if as_json else click.echo(request_id)
        return
    if not as_json:
        click.echo(request_id)
    destination = open_queue(
        settings.sqs_destination_queue, timeouts=BRIEF, region=settings.aws_region, setting="SQS_DESTINATION_QUEUE"
    )
    answer = _wait(source, destination, request_id=request_id, timeout=timeout)
    if as_json:
        print_json(answer)
    else:
        _print(answer, timeout)
    if answer["status"] != "succeeded":
        ctx.exit(FAILED)


def _wait(source: Queue, destination: Queue, *, request_id: str, timeout: int) -> dict[str, Any]:
    """The request's notification, or what the dead-letter queue says of it; status ``unknown`` after the time."""
    deadline = time.monotonic() + timeout
    dead = source.dead_letter_queue()
    with ExitStack() as looks, _status(shown=sys.stderr.isatty()) as say:
        output = looks.enter_context(look_into(destination))
        dead_letters = looks.enter_context(look_into(dead)) if dead else None
        while time.monotonic() < deadline:
            for letter in output.receive(wait_seconds=1):
                body = letter.json()
                if isinstance(body, dict) and body.get("request_id") == request_id:
                    output.delete(letter)
                    return body
            for letter in dead_letters.receive() if dead_letters else ():
                if request_id in (letter.message_id, letter.attribute("Original-Message-Id")):
                    return {"status": "failed", "error": reason_of(letter), "request_id": request_id}
            counts = source.attributes(_COUNTS)
            waiting, running = (counts.get(name, "?") for name in _COUNTS)
            say(f"waiting {duration(timeout - (deadline - time.monotonic()))}: {waiting} queued, {running} being built")
    return {"status": "unknown", "request_id": request_id}


def _print(answer: dict[str, Any], timeout: int) -> None:
    if answer["status"] == "succeeded":
        for archive in answer.get("archives", [answer["archive"]]):
            click.echo(f"s3://{archive['bucket']}/{archive['key']}")
            click.echo(archive["url"])
            click.echo(f"{files(archive['files'])}, {size(archive['size'])}")
        for line in missing_lines(answer["missing"], answer.get("missing_total")):
            click.echo(line, err=True)
    elif answer["status"] in ("failed", "cancelled"):
        click.echo(f"error: {presentable(answer['error']['message'])} ({answer['error']['code']})", err=True)
    else:
        click.echo(
            f"error: no notification within {timeout} s: no worker, or its consumer was faster (timeout)", err=True
        )


@contextmanager
def _status(*, shown: bool) -> Iterator[Callable[[str], None]]:
    """A line on standard error that changes; nothing where it is not ``shown``."""
    if not shown:
        yield lambda _: None
        return
    from rich.console import Console

    with Console(stderr=True).status("waiting") as status:
        yield status.update
