"""docker-compose.yml, .envrc.dist, the Dockerfile and the requirements say the same as the code."""

import os
import re
import stat
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from archiver.settings import Settings
from devtools.localstack import CHECKOUT
from devtools.stack import Names

SDK_VARIABLES = {"AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}


def read(name: str) -> str:
    return (CHECKOUT / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def compose() -> Any:
    return yaml.safe_load(read("docker-compose.yml"))


@pytest.fixture(scope="module")
def envrc() -> dict[str, str]:
    exports = dict(re.findall(r"^export ([A-Z0-9_]+)=(\S+)$", read(".envrc.dist"), flags=re.MULTILINE))
    assert exports.pop("PATH")  # to the commands
    return exports


def test_every_variable_is_a_setting_or_the_sdk_s(compose: Any, envrc: dict[str, str]) -> None:
    known = {name.upper() for name in Settings.model_fields} | SDK_VARIABLES
    assert set(envrc) <= known
    for service in ("archiver", "flower"):
        assert set(compose["services"][service]["environment"]) <= known


def test_envrc_and_the_defaults_of_compose_agree(compose: Any, envrc: dict[str, str]) -> None:
    for name, value in compose["services"]["archiver"]["environment"].items():
        if name not in SDK_VARIABLES:
            assert re.fullmatch(r"\$\{(\w+):-(.*)\}", value).groups() == (name, envrc[name])  # type: ignore[union-attr]  # no match fails just as well


def test_the_values_of_envrc_are_valid_settings(envrc: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in envrc.items():
        monkeypatch.setenv(name, value)

    settings = Settings()

    names = Names()
    assert settings.sqs_source_queue == names.input_queue
    assert settings.sqs_destination_queue == names.output_queue
    assert settings.sqs_crew_queue == names.crew_queue
    assert settings.s3_source_bucket == names.source_bucket
    assert settings.s3_destination_bucket == names.archive_bucket


def test_what_is_mounted_exists_and_the_init_script_can_be_run(compose: Any) -> None:
    for volume in compose["services"]["localstack"]["volumes"]:
        path = CHECKOUT / volume.split(":")[0]
        assert path.is_file()
        assert path.suffix != ".sh" or os.stat(path).st_mode & stat.S_IXOTH  # noqa: PTH116 the mode is the point


def test_localstack_is_the_release_that_the_tests_run_on(compose: Any) -> None:
    version = compose["services"]["localstack"]["image"].split(":")[1]
    assert f"localstack-core[runtime]=={version} " in read("requirements/localstack.in")


def test_the_container_may_take_as_long_to_stop_as_the_worker_does(compose: Any) -> None:
    grace = int(compose["services"]["archiver"]["stop_grace_period"].removesuffix("s"))
    assert grace > Settings.model_fields["soft_shutdown_seconds"].default


def test_the_worker_s_requirements_are_those_of_the_package() -> None:
    package = ConfigParser()
    package.read(CHECKOUT / "setup.cfg")
    declared = [
        *package["options"]["install_requires"].split(),
        *package["options.extras_require"]["worker"].split(),
        *package["options.extras_require"]["otel"].split()[1:],
    ]
    assert package["options.extras_require"]["otel"].split()[0] == "archiver[worker]"
    locked = [line for line in read("requirements/worker.in").splitlines() if line and not line.startswith("#")]
    assert [line.strip() for line in locked] == declared


@pytest.mark.parametrize("path", sorted((CHECKOUT / "requirements").glob("*.txt")), ids=lambda path: path.stem)
def test_every_requirement_is_locked_by_hash_and_names_no_index(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    requirements = [line for line in text.splitlines() if re.match(r"[a-z0-9]", line)]
    assert requirements
    assert all("==" in line and line.endswith("\\") for line in requirements)
    assert "://" not in text


def test_what_the_image_copies_is_not_ignored() -> None:
    kept = {line[1:] for line in read(".dockerignore").splitlines() if line.startswith("!")}
    copied = {
        word
        for line in re.findall(r"^COPY (?!--from)(.+)$", read("Dockerfile"), flags=re.MULTILINE)
        for word in line.split()[:-1]
    }
    assert {"requirements/*.txt" if name.startswith("requirements/") else name for name in copied} == kept
