"""``archiver completion``: what makes a shell complete the command's words."""

import click
from click.shell_completion import get_completion_class

#: The shells that click knows.
SHELLS = ("bash", "zsh", "fish")
#: How click is asked for completions: by this variable, of the program's name.
VARIABLE = "_ARCHIVER_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print what makes a shell complete this command.

    In .bashrc or .zshrc: eval "$(archiver completion bash)", or zsh. In fish: archiver completion fish | source
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise click.ClickException(f"SHELL={shell!r}: click does not know it")
    root = ctx.find_root()
    click.echo(kind(root.command, {}, str(root.info_name), VARIABLE).source())
