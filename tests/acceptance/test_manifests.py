"""Lists that no message holds, with a real worker on a real server."""

import gzip
import json
import zipfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote_plus

import pytest

from devtools.localstack import LocalStack
from devtools.stack import Stack
from devtools.worker import Worker, running_worker
from tests.acceptance.conftest import peak_memory
from tests.conftest import StackClient

pytestmark = [pytest.mark.acceptance, pytest.mark.localstack, pytest.mark.usefixtures("worker")]

#: Many entries of few small objects, each of which is read once: the list is what is tried.
ENTRIES, OBJECTS = 20_000, 20
MIB = 1024 * 1024
#: What the worker's child may take, whatever a manifest's bytes are.
MOST = 250 * MIB


@pytest.fixture(scope="module")
def worker(localstack: LocalStack, stack: Stack) -> Iterator[Worker]:
    """A worker whose payloads may name nothing but the source bucket."""
    settings = {"NOTIFY_FAILURES": "1", "ALLOWED_SOURCE_BUCKETS": stack.source_bucket}
    with running_worker(localstack, stack, settings=settings) as running:
        yield running


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


def bomb(content: bytes, size: int) -> bytes:
    """The content over and over, ``size`` bytes of it or a few more, gzipped."""
    packed = zlib.compressobj(1, wbits=31)
    piece = content * (MIB // len(content))
    return b"".join([packed.compress(piece) for _ in range(size // MIB)] or [packed.compress(content)]) + packed.flush()


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


#: Made where they are needed: all processes of a run read this file.
HOSTILE = [
    pytest.param(
        lambda: b"source\n" + b"x" * 20 * MIB, ", line 2: is longer than 65536 characters, got 'xxx", id="one line"
    ),
    pytest.param(lambda: bomb(b"x", 200 * MIB), ", line 1: is longer than 65536 characters, got 'xxx", id="bomb"),
    pytest.param(
        lambda: bomb(b"source\n", 0) + bomb(b"\n", 200 * MIB), ": more than 1100000 lines", id="bomb of lines"
    ),
    pytest.param(lambda: gzip.compress(bomb(b"\0", 200 * MIB)), ", line 1: is not UTF-8, got b'", id="bomb in a bomb"),
    pytest.param(lambda: gzip.compress(b"source\na\n")[:-9], ": ends in the middle of its gzip", id="torn"),
    pytest.param(lambda: bytes(range(256)) * 100, ", line 2: is not UTF-8, got b'\\x80", id="binary"),
    pytest.param(lambda: b"\0" * MIB, ", line 1: is longer than 65536 characters, got '\\x00", id="nothing but NULs"),
    pytest.param(
        lambda: b"source\nlisted/a\0\n", ", line 2: holds a NUL character, so that it is no text, got ", id="NUL"
    ),
    pytest.param(
        lambda: b'source\na\n"b\n' + b"c\n" * MIB,
        ", line 65538: is in a row of more than 131072 characters: a quote is left open, got '\"b'",
        id="open quote",
    ),
    pytest.param(
        lambda: b"source\nhostile\n", ", line 2: source: the manifest lists itself, got 'hostile'", id="itself"
    ),
    pytest.param(
        lambda: b"source\na\ns3://elsewhere/b\n", ", line 3: source: bucket 'elsewhere' is not in", id="other bucket"
    ),
    pytest.param(
        lambda: b"elsewhere,a%2Fb\n", ", line 1: source: bucket 'elsewhere' is not in", id="other bucket's object"
    ),
]


@pytest.mark.parametrize(("manifest", "complaint"), HOSTILE)
def test_a_hostile_manifest_is_a_dead_letter_that_names_the_line(
    client: StackClient, worker: Worker, manifest: Callable[[], bytes], complaint: str
) -> None:
    client.put("hostile", manifest())

    request_id = client.send({"manifest": "hostile"})

    # the consumer and the operator are told of the line at once
    error = client.notification(request_id).json["error"]
    (dead,) = client.dead_letters(1)
    told = {(error["code"], error["message"]), (dead.attributes["Error-Code"], dead.attributes["Error-Message"])}
    assert len(told) == 1
    assert error["code"] in ("invalid_payload", "limit_exceeded")
    assert error["message"].startswith(f"manifest s3://{client.stack.source_bucket}/hostile{complaint}")
    assert dead.attributes["Receive-Count"] == "1"
    # and it took no memory to speak of
    assert peak_memory(worker) < MOST


def test_a_manifest_in_a_bucket_that_is_not_allowed_is_not_read(client: StackClient) -> None:
    request_id = client.send({"manifest": "s3://elsewhere/list"})

    error = client.notification(request_id).json["error"]
    assert (error["code"], error["message"]) == (
        "limit_exceeded",
        "manifest s3://elsewhere/list: bucket 'elsewhere' is not in ALLOWED_SOURCE_BUCKETS",
    )
    assert len(client.dead_letters(1)) == 1
