"""The engine and the images of the container tests, and what the summary says of them.

A test is skipped only where no engine is there or no base image can be had; with CI set it fails even then.
"""

import os
from typing import NoReturn

import pytest

from tests.container.engine import Engine, find_engine
from tests.container.images import Images, NoImage


def lacking(what: str) -> NoReturn:
    """Skip, or fail where CI is set."""
    if os.environ.get("CI"):
        pytest.fail(f"{what}; with CI set, the container tests must run", pytrace=False)
    pytest.skip(what)


@pytest.fixture(scope="session")
def account(summary: dict[str, list[str]]) -> list[str]:
    """What ran and what this machine lacks, for the summary."""
    return summary.setdefault("containers", [])


@pytest.fixture(scope="session")
def engine(account: list[str]) -> Engine:
    found = find_engine()
    if found is None:
        account.append("nothing ran: there is neither docker with a daemon nor podman here")
        lacking("no container engine: neither docker with a daemon that answers nor podman")
    version = found("version", "--format", "{{.Client.Version}}").strip()
    account.append(f"engine: {found.program} {version}")
    return found


@pytest.fixture(scope="session")
def images(engine: Engine, account: list[str]) -> Images:
    return Images(engine, account)


@pytest.fixture(scope="session")
def image(images: Images) -> str:
    """The worker's image, built."""
    try:
        return images.worker()
    except NoImage as error:
        images.account.append(f"the image was not built: {error}")
        lacking(str(error))


@pytest.fixture
def compose(engine: Engine, images: Images, image: str) -> list[str]:
    """The program that reads docker-compose.yml; all images that the file names are there."""
    program = engine.compose()
    if program is None:
        images.account.append("docker-compose.yml was not run: there is no podman-compose or docker compose here")
        lacking("no compose: neither `docker compose` nor podman-compose")
    try:
        images.localstack()
    except NoImage as error:
        lacking(str(error))
    return program
