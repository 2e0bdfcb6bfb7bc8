"""The command as a whole: how it starts, and how it fails."""

import os
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


@pytest.mark.parametrize(("name", "hint"), [("bild", " (Did you mean 'build'?)"), ("archive", "")])
def test_an_unknown_command_is_named(name: str, hint: str) -> None:
    outcome = run(name, environment={})

    assert (outcome.exit_code, outcome.complaint) == (2, f"error: No such command {name!r}.{hint} (usage)")


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


@pytest.mark.parametrize("arguments", [(), ("dlq",)], ids=["archiver", "dlq"])
def test_a_group_alone_gives_its_help(arguments: tuple[str, ...]) -> None:
    outcome = run(*arguments, environment={})

    assert outcome.exit_code == 2
    assert outcome.stderr.startswith(f"Usage: archiver {' '.join(arguments)}")
    assert "\nCommands:\n" in outcome.stderr


@pytest.mark.parametrize("arguments", [("schema",), ("--help",)], ids=["schema", "help"])
def test_a_reader_that_has_gone_is_no_error(arguments: tuple[str, ...]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as output:
        done = subprocess.run(
            [sys.executable, "-m", "archiver", *arguments], stdout=output, stderr=subprocess.PIPE, timeout=60
        )

    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_is_told_how_to_complete(shell: str) -> None:
    outcome = run("completion", shell, environment={})

    assert outcome.exit_code == 0
    assert "_ARCHIVER_COMPLETE" in outcome.stdout


@pytest.mark.parametrize(
    ("words", "completed"),
    [("archiver dl", ["dlq"]), ("archiver dlq r", ["redrive"]), ("archiver build --on-missing s", ["skip"])],
)
def test_words_are_completed(words: str, completed: list[str]) -> None:
    asked = {"_ARCHIVER_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}

    outcome = run_process(environment=asked)

    assert [line.rpartition(",")[2] for line in outcome.stdout.splitlines()] == completed


def test_keys_that_will_be_ignored_are_told_beside_the_answer() -> None:
    payload = '{"files": [{"source": "a", "dest": "b"}], "onMissing": "skip"}'
    environment = SOMEWHERE_ELSE

    for command in ("submit", "plan"):
        outcome = run(command, "-", environment=environment, stdin=payload)
        assert outcome.stderr.splitlines()[:2] == [
            "warning: unknown key 'onMissing' is ignored: did you mean 'on_missing'?",
            "warning: unknown key 'files[].dest' is ignored: did you mean 'files[].destination'?",
        ]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("-o", "-"), "--output='-': a file is needed"),
        (("-o", "/dev/null"), "--output='/dev/null': not a file that could be replaced"),
        (("-o", "/nowhere/a.zip"), "--output='/nowhere/a.zip': its folder is not there"),
        (("-o", "/tmp/a.zip", "--split-files", "1"), "--output: one archive"),
        (("-o", "/tmp/a.zip", "--request-id", "r"), "--output and --request-id"),
    ],
)
def test_an_output_that_is_no_file_is_refused_before_anything_is_read(
    arguments: tuple[str, ...], complaint: str
) -> None:
    outcome = run("build", "--source", "a.jpg", *arguments, environment=CREDENTIALS | {"S3_SOURCE_BUCKET": "b-b"})

    assert outcome.exit_code == 2
    assert outcome.complaint.startswith(f"error: {complaint}")


def test_submit_either_waits_or_watches() -> None:
    outcome = run("submit", "--source", "a", "--wait", "--watch", environment=SOMEWHERE_ELSE)

    assert (outcome.exit_code, outcome.complaint) == (2, "error: --wait and --watch: give one of them (usage)")
