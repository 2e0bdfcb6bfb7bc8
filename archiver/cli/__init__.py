"""The command ``archiver``.

Each command lives in a module of its own, imported when it is called, so that ``archiver health`` does not wait for
an SDK that it has no use for.

Exit codes: 0 done; 1 failed; 2 wrong use, settings or payload: nothing was tried; 130 interrupted.
"""

from importlib import import_module
from typing import Any

import click

from archiver.archive.spelling import nearest
from archiver.cli.failures import INTERRUPTED, JSON, failure
from archiver.loading import loading
from archiver.version import __version__

#: Name, then what ``archiver --help`` says of it. The module and the function in it have the same name.
COMMANDS = {
    "submit": "Send a payload to the source queue.",
    "watch": "Follow the progress of a request. Needs MONITORING=1 or STATUS_PREFIX.",
    "status": "Show how far a request is. Needs STATUS_PREFIX.",
    "cancel": "End a request. Needs STATUS_PREFIX.",
    "plan": "Show what building an archive would take; writes nothing.",
    "build": "Build one archive here and now, without any queue.",
    "doctor": "Check settings, credentials, queues and buckets.",
    "dlq": "Look into the dead-letter queue, redrive or drop messages.",
    "sweep": "Abort uploads that no attempt will finish any more.",
    "schema": "Print the JSON Schemas of payload, notification and status.",
    "health": "Tell whether the worker beside this command is alive.",
    "completion": "Print what makes a shell complete this command.",
}


class Root(click.Group):
    """The commands, and one way for all of them to fail: a line on standard error, or with --json an object."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 click's signature
        if cmd_name not in COMMANDS:
            return None
        with loading():
            command: click.Command = getattr(import_module(f"archiver.cli.{cmd_name}"), cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if not ctx.resilient_parsing and name not in COMMANDS and (meant := nearest(name, COMMANDS)):
            ctx.fail(f"No such command {name!r}. (Did you mean {meant!r}?)")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 click's signature
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[JSON] = "--json" in args
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.exceptions.Exit, click.Abort, click.exceptions.NoArgsIsHelpError, BrokenPipeError):
            raise  # click ends on these itself: a group alone with its help, a reader that has gone in silence
        except KeyboardInterrupt:
            raise click.exceptions.Exit(INTERRUPTED) from None
        except Exception as error:
            if ctx.params["debug"] and not isinstance(error, click.ClickException):
                raise
            raise failure(error, as_json=ctx.meta[JSON], debuggable=not ctx.params["debug"]) from error


@click.command(cls=Root, name="archiver", context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="archiver")
@click.option("--debug", is_flag=True, help="Show the log of what happens, and the traceback of an unexpected error.")
def root(debug: bool) -> None:
    """Builds ZIP archives of S3 objects.

    Settings come from the environment, as the worker's do: SQS_SOURCE_QUEUE, S3_DESTINATION_BUCKET and so on.
    """
    del debug  # the commands read it from the context


def main() -> None:
    """The entry point."""
    root(prog_name="archiver")
