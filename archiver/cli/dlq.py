"""``archiver dlq``: the dead-letter queue of the source queue, found by its redrive policy."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import click

from archiver.aws.clients import BRIEF
from archiver.aws.dead_letters import REASONS, reason_of
from archiver.aws.letters import Letter
from archiver.aws.queues import Queue, open_queue
from archiver.cli.ending import known_as, request_id_of
from archiver.cli.failures import BadInput
from archiver.cli.look import Look, look_into
from archiver.cli.output import console, json_option, print_json
from archiver.cli.session import quiet_logs
from archiver.settings import QueueSettings, load
from archiver.text import presentable
from archiver.worker.decode import call_id


@dataclass(frozen=True, slots=True)
class _Queues:
    source: Queue
    dead: Queue


@click.group()
@click.pass_context
def dlq(ctx: click.Context) -> None:
    """Look into the dead-letter queue, redrive or drop messages.

    An ID is the request's, as submit, logs, notifications and Flower have it; the dead letter's own does as well.
    A look takes nothing away: it hides messages while it lasts. Each look counts as a receive of the message.
    """
    quiet_logs(debug=ctx.find_root().params["debug"])


@dlq.command(name="list")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="Messages at most.")
@json_option
def list_(limit: int, as_json: bool) -> None:
    """List dead letters with their reasons."""
    queues = _queues()
    with look_into(queues.dead) as look:
        letters = sorted(look.all(limit=limit), key=lambda letter: letter.sent_at)
    if as_json:
        print_json([_described(letter) for letter in letters])
        return
    if not letters:
        click.echo("no dead letters")
        return
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE, pad_edge=False)
    for column in ("Request", "Since (UTC)", "Code"):
        table.add_column(column, no_wrap=True)
    table.add_column("Reason", overflow="fold")
    for letter in letters:
        described = _described(letter)
        error = {name: presentable(value or "") for name, value in described["error"].items()}
        table.add_row(presentable(described["request_id"]), described["since"], error["code"], error["message"])
    console().print(table)


@dlq.command()
@click.argument("request_id", metavar="ID")
@json_option
def show(request_id: str, as_json: bool) -> None:
    """Show a dead letter: its reason, its attributes and its body.

    Signatures of presigned URLs and control characters are replaced. With --json all is as it came.
    """
    queues = _queues()
    with look_into(queues.dead) as look:
        letters = _find(look, [request_id])
    shown = [_described(letter) | {"body": letter.body} for letter in letters]
    if as_json:
        print_json(shown[0] if len(shown) == 1 else shown)
        return
    for number, (letter, described) in enumerate(zip(letters, shown, strict=True)):
        if number:
            click.echo()
        _print(letter, described)


def _print(letter: Letter, described: dict[str, Any]) -> None:
    for name, value in (
        ("request", described["request_id"]),
        ("message", letter.message_id),
        ("since", described["since"]),
        ("attempts", described["attempts"] or "unknown"),
        ("code", described["error"]["code"]),
        ("reason", described["error"]["message"]),
        *sorted(described["attributes"].items()),
    ):
        click.echo(f"{name}: {presentable(str(value), limit=None)}")
    body = letter.json()
    click.echo()
    text = letter.body if body is None else json.dumps(body, indent=2, ensure_ascii=False)
    click.echo(presentable(text, limit=None, lines=True))


@dlq.command()
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--all", "every", is_flag=True, help="SQS moves them all, in the background.")
@json_option
def redrive(ids: tuple[str, ...], every: bool, as_json: bool) -> None:
    """Give dead letters back to the source queue, as new messages without the reasons of their failure."""
    _one_of(ids, every)
    queues = _queues()
    if every:
        result = _move_all(queues)
        message = f"started: SQS moves about {result['messages']} message(s)"
    else:
        moved = []
        with look_into(queues.dead) as look:
            for letter in _only(_find(look, ids)):
                message_id = _resend(queues, letter)
                moved.append(
                    {
                        "message_id": letter.message_id,
                        "was": request_id_of(letter),
                        "request_id": call_id(letter) or message_id,
                    }
                )
                look.delete(letter)
        result = {"redriven": moved}
        message = "\n".join(f"{item['was']} is now request {item['request_id']}" for item in moved)
    print_json(result) if as_json else click.echo(message)


@dlq.command()
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--all", "every", is_flag=True, help="Empty the dead-letter queue.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def drop(ids: tuple[str, ...], every: bool, yes: bool, as_json: bool) -> None:
    """Delete dead letters for good."""
    _one_of(ids, every)
    if every and not yes:
        if as_json:
            raise BadInput("--all asks before it deletes: say --yes with --json")
        click.confirm("Delete every dead letter?", abort=True)
    queues = _queues()
    if every:
        # SQS takes up to a minute, and messages sent meanwhile may go, too (API_PurgeQueue).
        queues.dead.client.purge_queue(QueueUrl=queues.dead.url)
        print_json({"purged": queues.dead.url}) if as_json else click.echo("purged; SQS takes up to a minute")
        return
    with look_into(queues.dead) as look:
        letters = _find(look, ids)
        for letter in letters:
            look.delete(letter)
    dropped = [letter.message_id for letter in letters]
    print_json({"dropped": dropped}) if as_json else click.echo(f"dropped {len(dropped)} message(s)")


def _queues() -> _Queues:
    settings = load(QueueSettings)
    source = open_queue(
        settings.sqs_source_queue, timeouts=BRIEF, region=settings.aws_region, setting="SQS_SOURCE_QUEUE"
    )
    dead = source.dead_letter_queue()
    if dead is None:
        raise click.ClickException(
            f"SQS_SOURCE_QUEUE={settings.sqs_source_queue!r} has no dead-letter queue: it has no redrive policy"
        )
    return _Queues(source, dead)


def _one_of(ids: Sequence[str], every: bool) -> None:
    if bool(ids) == every:
        raise BadInput("give either IDs or --all")


def _find(look: Look, ids: Sequence[str]) -> list[Letter]:
    """The letters that are known by these ids, in their order; the whole queue is looked through for them if need be.

    A request has several where its consumer could not be told of its failure at once.
    """
    found: dict[str, dict[str, Letter]] = {one: {} for one in ids}
    for letter in look.all():
        for one in known_as(letter) & found.keys():
            found[str(one)][letter.message_id] = letter
        if all(one in letters for one, letters in found.items()):
            break  # all were given by their messages' own ids, of which there is no second one
    for one, letters in found.items():
        if not letters:
            raise click.ClickException(f"ID={one!r}: there is no such dead letter, or somebody has it now")
    return list({message_id: letter for letters in found.values() for message_id, letter in letters.items()}.values())


def _only(letters: list[Letter]) -> list[Letter]:
    """The same, where each is of another request: one that is redriven twice is built twice."""
    for request_id, count in Counter(map(request_id_of, letters)).items():
        if count > 1:
            ids = ", ".join(letter.message_id for letter in letters if request_id_of(letter) == request_id)
            raise click.ClickException(
                f"ID={request_id!r}: {count} dead letters are of this request: redrive one of {ids}, and drop the rest"
            )
    return letters


def _described(letter: Letter) -> dict[str, Any]:
    attempts = letter.attribute("Attempts") or letter.attribute("Receive-Count")
    return {
        "message_id": letter.message_id,
        "request_id": request_id_of(letter),
        "since": f"{datetime.fromtimestamp(letter.sent_at, UTC):%Y-%m-%d %H:%M:%S}",
        "attempts": int(attempts) if attempts else None,  # SQS's own count has our looks in it
        "error": reason_of(letter),
        "attributes": {
            name: value.get("StringValue", "(binary)")
            for name, value in letter.attributes.items()
            if name not in REASONS
        },
    }


def _resend(queues: _Queues, letter: Letter) -> str:
    return queues.source.send(
        letter.body,
        attributes={name: value for name, value in letter.sendable_attributes().items() if name not in REASONS},
        group_id=letter.group_id or letter.message_id,
        deduplication_id=f"redrive-{letter.message_id}",
        tenant=letter.group_id,
    )


def _move_all(queues: _Queues) -> dict[str, Any]:
    dead = queues.dead.attributes(["QueueArn", "ApproximateNumberOfMessages"])
    # Without a destination SQS takes each message's own source, which those that the worker sent there don't have.
    task = queues.source.client.start_message_move_task(
        SourceArn=dead["QueueArn"], DestinationArn=queues.source.attributes(["QueueArn"])["QueueArn"]
    )
    return {"task": task["TaskHandle"], "messages": int(dead["ApproximateNumberOfMessages"])}
