"""What pip's configuration says is handed on to uv, and a Python that is too old is told of in one line."""

import os
import subprocess
from pathlib import Path

import pytest

from devtools.install import uv_settings
from devtools.localstack import CHECKOUT


def test_indexes_folders_and_certificates_are_handed_on() -> None:
    settings = uv_settings(
        """
:env:.cert='/etc/ssl/ca.crt'
global.index-url='https://mirror.example/simple'
global.extra-index-url='file:///one/simple file:///two/simple'
global.find-links='/wheels /more'
global.timeout='60'
"""
    )

    assert settings == {
        "SSL_CERT_FILE": "/etc/ssl/ca.crt",
        "UV_DEFAULT_INDEX": "https://mirror.example/simple",
        "UV_INDEX": "file:///one/simple file:///two/simple",
        "UV_FIND_LINKS": "/wheels,/more",
    }


def test_a_machine_without_configuration_changes_nothing() -> None:
    assert uv_settings("") == {}


@pytest.mark.parametrize(
    ("script", "told"),
    [('[ "$1" = --version ] && echo Python 3.9.2\nexit 0', "is Python 3.9.2"), ("exit 127", "is not there")],
    ids=["old", "none"],
)
def test_make_says_in_one_line_that_its_python_will_not_do(tmp_path: Path, script: str, told: str) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    python.chmod(0o755)

    ran = subprocess.run(
        ["make", f"PYTHON={python}", f"VENV={tmp_path / 'venv'}", "unit"],
        cwd=CHECKOUT,
        env={"PATH": os.environ["PATH"]},  # not that of a make around the tests
        capture_output=True,
        text=True,
        timeout=60,
    )

    (line,) = ran.stderr.splitlines()
    assert f"Python 3.11 or later is needed, and {python} {told}" in line
    assert (ran.returncode, ran.stdout) == (2, "")
    assert not (tmp_path / "venv").exists()
