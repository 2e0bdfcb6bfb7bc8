"""Lists that no message holds, with a real worker on a real server."""

import gzip
import json
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote_plus

import pytest

from tests.conftest import StackClient

pytestmark = [pytest.mark.acceptance, pytest.mark.localstack, pytest.mark.usefixtures("worker")]

#: Many entries of few small objects, each of which is read once: the list is what is tried.
ENTRIES, OBJECTS = 20_000, 20


@pytest.fixture(scope="module")
def sources(client: StackClient) -> list[str]:
    keys = [f"listed/ü {n:02}+.txt" for n in range(OBJECTS)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda key: client.put(key, key.encode()), keys))
    return keys


def json_lines(bucket: str, keys: list[str]) -> bytes:
    lines = ({"source": key, "destination": f"{n:05}.txt"} for n, key in enumerate(keys))
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def table(bucket: str, keys: list[str]) -> bytes:
    rows = (f'"s3://{bucket}/{key}",{n:05}.txt\r\n' for n, key in enumerate(keys))
    return gzip.compress(("\ufeffsource,destination\r\n" + "".join(rows)).encode())


def batch_operations(bucket: str, keys: list[str]) -> bytes:
    return "".join(f"{bucket},{quote_plus(key)}\n" for key in keys).encode()


@pytest.mark.parametrize("write", [json_lines, table, batch_operations])
def test_twenty_thousand_entries(
    client: StackClient, sources: list[str], write: Callable[[str, list[str]], bytes], tmp_path: Path
) -> None:
    # given a manifest of many entries
    wanted = [sources[n % OBJECTS] for n in range(ENTRIES)]
    client.put(f"{write.__name__}.manifest", write(client.stack.source_bucket, wanted))

    # when it is asked for
    request_id = client.send({"manifest": f"{write.__name__}.manifest"})

    # then all of them are there, in their order
    told = client.notification(request_id).json
    assert (told["status"], told["archive"]["files"]) == ("succeeded", ENTRIES), told
    archive = tmp_path / "archive.zip"
    client.s3.download_file(told["archive"]["bucket"], told["archive"]["key"], str(archive))
    with zipfile.ZipFile(archive) as opened:
        contents = [opened.read(info).decode() for info in opened.infolist()]
        names = opened.namelist()
    assert contents == wanted
    if write is not batch_operations:
        assert names == [f"{n:05}.txt" for n in range(ENTRIES)]


@pytest.mark.parametrize(
    ("manifest", "complaint"),
    [
        (b"source\n" + b"x" * 20_000_000, "line 2: is longer than 65536 characters"),
        (gzip.compress(b"x" * 200_000_000, compresslevel=1), "line 1: is longer than 65536 characters"),
        (bytes(range(256)) * 100, "is not UTF-8"),
        (b"source\nlisted/a\0\n", "line 2: holds a NUL character"),
        (b"source\nhostile\n", "line 2: source: the manifest lists itself"),
    ],
    ids=["one line", "bomb", "binary", "NUL", "itself"],
)
def test_a_hostile_manifest_is_a_dead_letter_that_names_the_line(
    client: StackClient, manifest: bytes, complaint: str
) -> None:
    client.put("hostile", manifest)

    request_id = client.send({"manifest": "hostile"})

    error = client.notification(request_id).json["error"]
    assert error["code"] == "invalid_payload"
    assert complaint in error["message"]
    (dead,) = client.dead_letters(1)
    assert dead.attributes["Error-Code"] == "invalid_payload"
