"""The command as a whole: how it starts, and how it fails."""

import subprocess
import sys
from pathlib import Path

import pytest

from archiver import __version__
from archiver.cli import COMMANDS, root
from tests.support.command import BUCKETS, CREDENTIALS, NOWHERE, QUEUES, run, run_process

SOMEWHERE_ELSE = CREDENTIALS | QUEUES | BUCKETS | {"AWS_ENDPOINT_URL": NOWHERE}
#: Every command that talks to AWS, with arguments that are right.
TALKATIVE = {
    "submit": ("submit", "--source", "a.jpg"),
    "plan": ("plan", "--source", "a.jpg"),
    "build": ("build", "--source", "a.jpg"),
    "dlq list": ("dlq", "list"),
    "dlq show": ("dlq", "show", "some-id"),
    "dlq redrive": ("dlq", "redrive", "--all"),
    "dlq drop": ("dlq", "drop", "--all", "--yes"),
    "sweep": ("sweep",),
}


def test_the_version_is_the_packages() -> None:
    outcome = run_process("--version", environment={})

    assert outcome.exit_code == 0
    assert __version__ in outcome.stdout


def test_help_names_every_command_without_loading_any() -> None:
    outcome = run("--help", environment={})

    assert outcome.exit_code == 0
    assert all(name in outcome.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str) -> None:
    outcome = run(name, "--help", environment={})

    assert outcome.exit_code == 0
    assert outcome.stdout.startswith(f"Usage: archiver {name}")


def test_an_unknown_command_is_named() -> None:
    outcome = run("bild", environment={})

    assert (outcome.exit_code, outcome.complaint) == (2, "error: No such command 'bild'. (usage)")


@pytest.mark.parametrize("name", TALKATIVE)
def test_without_settings_a_command_names_what_is_missing(name: str) -> None:
    outcome = run(*TALKATIVE[name], environment=CREDENTIALS)

    assert outcome.exit_code == 2
    assert outcome.complaint.endswith(" is not set (settings)")


@pytest.mark.parametrize("name", TALKATIVE)
def test_without_a_server_a_command_says_so_in_a_line(name: str) -> None:
    outcome = run(*TALKATIVE[name], environment=SOMEWHERE_ELSE)

    assert outcome.exit_code == 1
    assert "127.0.0.1:1" in outcome.complaint


@pytest.mark.parametrize("name", TALKATIVE)
def test_without_a_server_json_is_an_object_with_code_and_message(name: str) -> None:
    outcome = run(*TALKATIVE[name], "--json", environment=SOMEWHERE_ELSE)

    assert outcome.exit_code == 1
    assert outcome.error["code"] in {"queue_unavailable", "storage_unavailable", "destination_unavailable"}
    assert "127.0.0.1:1" in outcome.error["message"]


def test_without_a_region_the_setting_is_named() -> None:
    outcome = run("dlq", "list", environment=QUEUES)

    assert outcome.exit_code == 2
    assert outcome.complaint == "error: AWS_DEFAULT_REGION is not set, and no profile names a region (settings)"


def test_without_credentials_the_settings_are_named() -> None:
    outcome = run("sweep", environment=BUCKETS | {"AWS_EC2_METADATA_DISABLED": "true"})

    assert outcome.exit_code == 2
    assert outcome.complaint.startswith("error: there are no AWS credentials: set AWS_PROFILE")


def test_an_endpoint_that_is_no_url_is_a_wrong_setting() -> None:
    outcome = run("sweep", environment=SOMEWHERE_ELSE | {"AWS_ENDPOINT_URL": "nonsense"})

    assert outcome.exit_code == 2
    assert outcome.complaint.startswith("error: AWS_ENDPOINT_URL: ")


def test_an_unexpected_error_is_a_line_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr("archiver.cli.sweep.brief_client", broken)
    outcome = run("sweep", environment=BUCKETS | CREDENTIALS)

    assert outcome.exit_code == 1
    assert outcome.complaint == "error: ZeroDivisionError: by nothing; archiver --debug … shows where (unexpected)"
    with pytest.raises(ZeroDivisionError):
        run("--debug", "sweep", environment=BUCKETS | CREDENTIALS)


def test_an_interrupted_command_says_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("archiver.cli.sweep.brief_client", interrupted)
    outcome = run("sweep", environment=BUCKETS | CREDENTIALS)

    assert (outcome.exit_code, outcome.stdout, outcome.stderr) == (130, "", "")


@pytest.mark.parametrize(
    ("code", "unwanted"),
    [
        ("from archiver.cli import health", ("boto3", "botocore", "celery", "kombu", "rich")),
        ("import archiver.client", ("celery", "kombu", "pydantic_settings", "structlog", "archiver.settings", "rich")),
        ("import archiver", ("celery", "boto3", "pydantic")),
    ],
)
def test_what_must_start_fast_imports_little(code: str, unwanted: tuple[str, ...], tmp_path: Path) -> None:
    script = f"import sys; sys.path.insert(0, {str(Path.cwd())!r}); {code}; print(*sys.modules)"

    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path)

    assert not set(unwanted) & set(loaded.stdout.split())


def test_the_root_command_is_the_entry_point() -> None:
    assert root.name == "archiver"
