"""``archiver submit``: a payload goes to the source queue."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import click

from archiver.archive.request import parse_request
from archiver.aws.clients import new_sqs_client
from archiver.aws.dead_letters import dead_letter_url
from archiver.cli.failures import FAILED, BadInput
from archiver.cli.output import duration, files, json_option, print_json, size
from archiver.cli.payloads import payload_options, read_payload
from archiver.cli.queues import attributes_of, look_into, queue_url
from archiver.cli.session import quiet_logs
from archiver.client import ArchiverClient
from archiver.settings import QueueSettings, load

_COUNTS = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")


@click.command()
@payload_options
@click.option("--correlation-id", help="Found again in every log line and on the notification.")
@click.option("--wait", is_flag=True, help="Wait for the notification and take it off the queue. For development.")
@click.option("--timeout", type=click.IntRange(min=1), default=300, show_default=True, help="Seconds to wait at most.")
@json_option
@click.pass_context
def submit(
    ctx: click.Context, /, correlation_id: str | None, wait: bool, timeout: int, as_json: bool, **given: Any
) -> None:
    """Send a payload to the source queue and print the request's id.

    FILE is the payload's JSON; --source and --prefix make one without a file. With --wait, other notifications on
    the destination queue are looked at once, hidden from their consumer meanwhile, and given back.
    """
    quiet_logs(debug=ctx.find_root().params["debug"])
    payload = read_payload(**given)
    settings = load(QueueSettings)
    parse_request(payload, max_files=settings.max_files)
    if wait and settings.sqs_destination_queue is None:
        raise BadInput("--wait: SQS_DESTINATION_QUEUE is not set, so nobody is notified")
    sqs = new_sqs_client(queue_url=settings.sqs_source_queue, region=settings.aws_region)
    source = queue_url(sqs, settings.sqs_source_queue, setting="SQS_SOURCE_QUEUE")
    request_id = ArchiverClient(source, sqs=sqs).submit_payload(payload, correlation_id=correlation_id)
    if not wait or settings.sqs_destination_queue is None:
        print_json({"request_id": request_id}) if as_json else click.echo(request_id)
        return
    if not as_json:
        click.echo(request_id)
    notified = new_sqs_client(queue_url=settings.sqs_destination_queue, region=settings.aws_region)
    destination = queue_url(notified, settings.sqs_destination_queue, setting="SQS_DESTINATION_QUEUE")
    answer = _wait(sqs, source, notified, destination, request_id=request_id, timeout=timeout)
    if as_json:
        print_json(answer)
    else:
        _tell(answer, timeout)
    if answer["status"] != "succeeded":
        ctx.exit(FAILED)


def _wait(sqs: Any, source: str, notified: Any, destination: str, *, request_id: str, timeout: int) -> dict[str, Any]:
    """The request's notification, or what the dead-letter queue says of it; status ``unknown`` after the time."""
    deadline = time.monotonic() + timeout
    policy = attributes_of(sqs, source, ["RedrivePolicy"]).get("RedrivePolicy")
    dead = dead_letter_url(source, policy)
    with ExitStack() as looks, _status(shown=sys.stderr.isatty()) as say:
        output = looks.enter_context(look_into(notified, destination))
        dead_letters = looks.enter_context(look_into(sqs, dead)) if dead else None
        while time.monotonic() < deadline:
            for letter in output.receive(wait_seconds=1):
                body = letter.json()
                if isinstance(body, dict) and body.get("request_id") == request_id:
                    output.delete(letter)
                    return body
            for letter in dead_letters.receive() if dead_letters else ():
                if request_id in (letter.id, letter.attribute("Original-Message-Id")):
                    return {"status": "failed", "error": letter.reason(), "request_id": request_id}
            waiting, running = (attributes_of(sqs, source, _COUNTS).get(name, "?") for name in _COUNTS)
            say(f"waiting {duration(timeout - (deadline - time.monotonic()))}: {waiting} queued, {running} being built")
    return {"status": "unknown", "request_id": request_id}


def _tell(answer: dict[str, Any], timeout: int) -> None:
    if answer["status"] == "succeeded":
        archive = answer["archive"]
        click.echo(f"s3://{archive['bucket']}/{archive['key']}")
        click.echo(archive["url"])
        click.echo(f"{files(archive['files'])}, {size(archive['size'])}")
        for source in answer["missing"]:
            click.echo(f"missing: {source}", err=True)
    elif answer["status"] == "failed":
        click.echo(f"error: {answer['error']['message']} ({answer['error']['code']})", err=True)
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
