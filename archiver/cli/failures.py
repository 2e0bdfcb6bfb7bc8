"""How a command fails: the error's kind decides on the exit code, its message is one line."""

import json
from typing import IO, Any

import click

from archiver.errors import MESSAGE_CHARACTERS, ArchiverError, InvalidPayload, SettingsError
from archiver.text import presentable

FAILED = 1
MISUSED = 2
INTERRUPTED = 130

#: Where the root command notes in ``Context.meta`` that --json was given.
JSON = "archiver.json"


class Failure(click.ClickException):
    """The end of a command that did not do what was asked: one line, or with --json one object, on standard output."""

    exit_code = FAILED

    def __init__(self, message: str, *, code: str, as_json: bool) -> None:
        super().__init__(presentable(" ".join(message.split()), limit=MESSAGE_CHARACTERS))
        self.code = code
        self.as_json = as_json

    def show(self, file: IO[Any] | None = None) -> None:
        if self.as_json:
            click.echo(json.dumps({"error": {"code": self.code, "message": self.message}}, ensure_ascii=False))
        else:
            click.echo(f"error: {self.message} ({self.code})", file=file, err=file is None)


class Misuse(Failure):
    """Nothing was tried: the command line, the settings or the payload can't be used."""

    exit_code = MISUSED


class BadInput(click.ClickException):
    """What was given to the command can't be used; the message names it."""

    exit_code = MISUSED


def failure(error: Exception, *, as_json: bool, debuggable: bool = False) -> Failure:
    """The failure that ``error`` means."""
    message, code, kind = _described(error)
    if code == "unexpected" and debuggable:
        message += "; archiver --debug … shows where"
    return kind(message, code=code, as_json=as_json)


def _described(error: BaseException) -> tuple[str, str, type[Failure]]:
    if isinstance(error, ArchiverError):
        cause = error.__cause__ and _described(error.__cause__)
        if cause and cause[1] == "settings":  # S3 is fine, it was never asked
            return cause
        return error.message, error.code, Misuse if isinstance(error, InvalidPayload) else Failure
    if isinstance(error, SettingsError):
        return str(error), "settings", Misuse
    if isinstance(error, click.ClickException):
        misused = error.exit_code == MISUSED
        return error.format_message(), "usage" if misused else "failed", Misuse if misused else Failure
    # Only an error on the way out pays for these imports.
    from botocore.exceptions import BotoCoreError, ClientError

    from archiver.aws.sdk import complaint

    if text := complaint(error):
        return text, "settings", Misuse
    if isinstance(error, ClientError):
        return str(error), str(error.response.get("Error", {}).get("Code", "aws")), Failure
    if isinstance(error, BotoCoreError):
        return str(error), "aws_unreachable", Failure
    return f"{type(error).__name__}: {error}", "unexpected", Failure
