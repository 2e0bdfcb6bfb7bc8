"""The payload of a command: a file, standard input, or put together from options."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from archiver.archive.document import DocumentError, read
from archiver.archive.request import ArchiveRequest, parse_request
from archiver.archive.unknown import told
from archiver.cli.failures import BadInput
from archiver.text import presentable

F = TypeVar("F", bound=Callable[..., Any])


def payload_options(command: F) -> F:
    """FILE and the options in its place; the command hands them on to ``read_payload``."""
    options: list[Callable[[F], F]] = [
        click.argument("file", required=False, metavar="FILE|-"),
        click.option("--source", "sources", multiple=True, help="A key or s3://bucket/key, in place of FILE."),
        click.option("--prefix", "prefixes", multiple=True, help="A prefix, taken with all that lies below it."),
        click.option("--include", "includes", multiple=True, help="With --prefix: a glob of what to take below it."),
        click.option("--exclude", "excludes", multiple=True, help="With --prefix: a glob of what to leave out."),
        click.option("--destination", help="Where --source and --prefix go in the archive: a path, or a folder/."),
        click.option("--manifest", "manifests", multiple=True, help="An object that lists files, in place of FILE."),
        click.option("--compression", type=click.Choice(["stored", "auto"]), help="Overrides the payload's."),
        click.option("--on-missing", type=click.Choice(["fail", "skip", "list"]), help="Overrides the payload's."),
        click.option("--filename", help="Overrides the payload's."),
        click.option(
            "--metadata", "notes", multiple=True, metavar="NAME=VALUE", help="Text handed to the consumer, in metadata."
        ),
        click.option("--key", help="The archive's whole key. Overrides the payload's, as do the following."),
        click.option("--key-prefix", help="What goes before the archive's generated key."),
        click.option("--bucket", help="The archive's bucket."),
        click.option("--tag", "tags", multiple=True, metavar="NAME=VALUE", help="A tag of the archive."),
        click.option("--storage-class", help="The archive's storage class."),
        click.option("--overwrite", is_flag=True, default=None, help="With --key: replace whatever lies there."),
        click.option("--split-bytes", type=int, help="Several archives, of this size at most."),
        click.option("--split-files", type=int, help="Several archives, of so many files at most."),
        click.option("--link-expires-seconds", type=int, help="Life of a presigned link."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def read_payload(
    file: str | None,
    *,
    sources: tuple[str, ...] = (),
    prefixes: tuple[str, ...] = (),
    includes: tuple[str, ...] = (),
    excludes: tuple[str, ...] = (),
    destination: str | None = None,
    manifests: tuple[str, ...] = (),
    notes: tuple[str, ...] = (),
    **overrides: Any,
) -> dict[str, Any]:
    """The payload's object, not validated yet. Raises ``BadInput`` where there is none, or more than one."""
    given = bool(sources or prefixes or manifests)
    if (file is None) != given:
        raise BadInput("give either FILE (- for standard input) or --source, --prefix and --manifest")
    if (includes or excludes) and not prefixes:
        raise BadInput("--include and --exclude select of what lies below a --prefix")
    if destination is not None and not (sources or prefixes):
        raise BadInput("--destination says where a --source or --prefix goes")
    payload = _parsed(file, _text(file)) if file else _asked(sources, prefixes, includes, excludes, manifests)
    for asked in payload.get("files", ()) if destination is not None else ():
        asked["destination"] = destination
    if notes:
        before = payload.get("metadata")
        payload["metadata"] = (before if isinstance(before, dict) else {}) | _pairs("metadata", notes)
    _add(payload, "archive", _archive(overrides))
    bounds = {"max_bytes": overrides.pop("split_bytes", None), "max_files": overrides.pop("split_files", None)}
    _add(payload, "split", {name: bound for name, bound in bounds.items() if bound is not None})
    return payload | {name: value for name, value in overrides.items() if value is not None}


def checked(payload: dict[str, Any], *, max_files: int, default_bucket: str | None) -> ArchiveRequest:
    """The request that the payload is; keys that will be ignored are told on standard error.

    Raises what ``parse_request`` raises.
    """
    request = parse_request(payload, max_files=max_files, default_bucket=default_bucket)
    for line in told(request.unknown_keys):
        click.echo(f"warning: {presentable(line)}", err=True)
    return request


def _asked(
    sources: tuple[str, ...],
    prefixes: tuple[str, ...],
    includes: tuple[str, ...],
    excludes: tuple[str, ...],
    manifests: tuple[str, ...],
) -> dict[str, Any]:
    selection = {name: list(globs) for name, globs in (("include", includes), ("exclude", excludes)) if globs}
    files: list[dict[str, Any]] = [{"source": source} for source in sources]
    files += [{"source": prefix and prefix.rstrip("/") + "/"} | selection for prefix in prefixes]
    listed = {"manifest": manifests[0] if len(manifests) == 1 else list(manifests)} if manifests else {}
    return ({"files": files} if files else {}) | listed


def _add(payload: dict[str, Any], field: str, wishes: dict[str, Any]) -> None:
    """Put the options' wishes beside the payload's; what is no object stays, for the validation to name."""
    before = payload.get(field)
    if wishes and (before is None or isinstance(before, dict)):
        payload[field] = (before or {}) | wishes


def _archive(overrides: dict[str, Any]) -> dict[str, Any]:
    """What the options say of the archive's place, taken out of them."""
    tags = _pairs("tag", overrides.pop("tags", ()))
    names = {"key": "key", "key_prefix": "prefix", "bucket": "bucket"}
    names |= {"storage_class": "storage_class", "overwrite": "overwrite"}
    wishes = {field: overrides.pop(option, None) for option, field in names.items()}
    return {field: value for field, value in (wishes | {"tags": tags or None}).items() if value is not None}


def _pairs(option: str, given: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not equals:
            raise BadInput(f"--{option}={one!r}: not NAME=VALUE")
        pairs[name] = value
    return pairs


def _text(file: str) -> str:
    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        return data.decode("utf-8-sig")
    except OSError as error:
        raise BadInput(f"FILE={file!r}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise BadInput(f"FILE={file!r}: not UTF-8 at byte {error.start}") from None


def _parsed(file: str, text: str) -> dict[str, Any]:
    try:
        return read(text).value
    except DocumentError as error:
        raise BadInput(f"FILE={file!r}: {error}") from None
