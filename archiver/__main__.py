"""The command ``archiver``, also as ``python -m archiver``."""

import sys
from importlib.util import find_spec

from archiver.loading import loading

#: The modules that the extra ``archiver[worker]`` brings; a test holds them to setup.cfg.
WORKER_MODULES = ("celery", "kombu", "pydantic_settings", "structlog", "rich", "click", "zlib_ng")
MISUSED = 2


def main() -> None:
    """The entry point. Where the package was installed for its client alone, one line says what is missing."""
    missing = [name for name in WORKER_MODULES if find_spec(name) is None]
    if missing:
        sys.stderr.write(f"error: the command needs the extra archiver[worker]; not installed: {', '.join(missing)}\n")
        sys.exit(MISUSED)
    with loading():
        from archiver.cli import main as command

    command()


if __name__ == "__main__":
    main()
