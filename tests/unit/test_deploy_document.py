"""docs/operations.md: its commands exist, its codes and log lines are the program's."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import botocore.session
import pytest
from botocore import xform_name

from archiver import errors
from archiver.cli import COMMANDS
from devtools.cloudformation import MESSAGING
from tests.support.policies import load_template

CHECKOUT = Path(__file__).resolve().parents[2]
TEXT = (CHECKOUT / "docs" / "operations.md").read_text(encoding="utf-8")

#: Commands of the AWS CLI that are no operation of an API.
OF_THE_CLI = {
    ("cloudformation", "deploy"),
    ("cloudformation", "wait"),
    ("ecr", "get-login-password"),
    ("ecs", "wait"),
    ("logs", "tail"),
    ("s3", "cp"),
}
GLOBAL_OPTIONS = {"query", "output"}
#: Options that the CLI calls otherwise than the API: `--endpoint` would be short for its own `--endpoint-url`.
RENAMED = {("sns", "subscribe"): {"notification-endpoint"}}


def code() -> Iterator[str]:
    """The indented lines, those that end in a backslash joined with the next."""
    indented = [line[4:] for line in TEXT.splitlines() if line.startswith("    ")]
    yield from "\n".join(indented).replace("\\\n", " ").splitlines()


def aws_commands() -> list[tuple[str, str, list[str]]]:
    """Service, operation and options of every AWS CLI command, in the code and in the tables."""
    found = []
    for text in [*code(), *re.findall(r"`(aws [^`]*)`", TEXT)]:
        for command in re.findall(r"\baws ([a-z0-9-]+ [a-z0-9-]+(?: [^|;&`)]*)?)", text):
            service, operation, *rest = command.replace("'", " ").replace('"', " ").split()
            options = [word.removeprefix("--") for word in rest if re.fullmatch(r"--[a-z][a-z-]+", word)]
            found.append((service, operation, options))
    return found


def test_the_document_has_commands() -> None:
    assert len(aws_commands()) > 30


@pytest.mark.parametrize(("service", "operation", "options"), aws_commands())
def test_each_aws_command_exists_with_its_options(service: str, operation: str, options: list[str]) -> None:
    if (service, operation) in OF_THE_CLI:
        return
    model = botocore.session.get_session().get_service_model(service)
    operations = {xform_name(name, "-"): name for name in model.operation_names}

    assert operation in operations
    shape = model.operation_model(operations[operation]).input_shape
    members = {xform_name(name, "-") for name in shape.members} if shape else set()
    flags = {f"no-{member}" for member in members}
    known = members | flags | GLOBAL_OPTIONS | RENAMED.get((service, operation), set())
    assert {option for option in options if option not in known} == set()


def test_each_parameter_that_is_set_belongs_to_a_stack() -> None:
    templates = [load_template(path) for path in MESSAGING.parent.glob("*.yaml")]
    known = {name for template in templates for name in template["Parameters"]}
    text = "\n".join(code())
    assigned = set(re.findall(r"(?:^|echo |\")([A-Z][a-z]\w+)=", text, flags=re.MULTILINE))

    assert {"SourceBucket", "Image", "FlowerImage", "PayloadTopicArns", "EndpointRouteTables"} <= assigned
    assert assigned <= known


def test_each_stack_is_deployed_from_the_template_of_its_name() -> None:
    commands = [line.partition("#")[0] for line in code()]
    deployed = {name for line in commands for name in re.findall(r"\bdeploy ([a-z]+)(?: |$)", line)} - {
        "cloudformation"
    }

    assert deployed == {path.stem for path in MESSAGING.parent.glob("*.yaml")}


def test_each_output_that_is_read_is_one() -> None:
    templates = {path.stem: load_template(path) for path in MESSAGING.parent.glob("*.yaml")}
    read = re.findall(r"\$\(output (\w+)(?: ([a-z]+))?\)", TEXT)

    assert len(read) > 8
    assert [name for name, stack in read if name not in templates[stack or "messaging"]["Outputs"]] == []


def test_each_archiver_command_exists() -> None:
    called = {match for line in code() for match in re.findall(r"^archiver ([a-z]+)", line)}

    assert called
    assert called <= set(COMMANDS)


def test_every_permanent_error_has_its_line() -> None:
    def below(error: type[errors.ArchiverError]) -> Iterator[type[errors.ArchiverError]]:
        for child in error.__subclasses__():
            if child.__module__ == errors.__name__:
                yield child
                yield from below(child)

    codes = {error.code for error in below(errors.PermanentError)}

    assert codes
    assert {code for code in codes if f"`{code}`" not in TEXT} == set()


def test_every_log_line_that_the_document_explains_is_written_somewhere() -> None:
    table = TEXT.partition("## Logs")[2].partition("\n## ")[0]
    lines = {
        line
        for row in table.splitlines()
        if row.startswith("| `")
        for line in re.findall(r"`([^`]+)`", row.split("|")[1])
    }
    sources = "".join(
        path.read_text(encoding="utf-8")
        for folder in ("archiver", "tasks")
        for path in (CHECKOUT / folder).rglob("*.py")
    )

    assert len(lines) >= 10
    assert {line for line in lines if f'"{line}' not in sources} == set()


def test_links_inside_the_document_lead_somewhere() -> None:
    anchors = anchors_of(TEXT)

    for target in re.findall(r"\]\(([^)]+)\)", TEXT):
        if target.startswith("#"):
            assert target[1:] in anchors, target
        else:
            path, _, anchor = target.partition("#")
            other = CHECKOUT / "docs" / path
            assert other.exists(), target
            assert not anchor or anchor in anchors_of(other.read_text(encoding="utf-8")), target


def anchors_of(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_shell_lines_are_balanced() -> None:
    section = TEXT.partition("## Deploy")[2].partition("## Parameters")[0]
    lines = "\n".join(line[4:] for line in section.splitlines() if line.startswith("    "))

    assert shlex.split(lines, comments=True)
