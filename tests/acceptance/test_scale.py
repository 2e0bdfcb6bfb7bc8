"""Large archives: memory that does not grow with them, and more entries than a ZIP without ZIP64 can have."""

import contextlib
import shutil
import subprocess
import zipfile
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from devtools.faults import ACCESS_DENIED, no_faults, on
from devtools.localstack import LocalStack
from devtools.proxy import Proxy, running_proxy
from devtools.stack import Stack
from devtools.worker import Worker, running_worker
from tests.acceptance.conftest import peak_memory
from tests.conftest import StackClient
from tests.support.jobs import noise
from tests.support.oracles import MissingReader, Readers, sha256

pytestmark = [pytest.mark.acceptance, pytest.mark.localstack, pytest.mark.slow]

MIB = 1024 * 1024
GIB = 1024 * MIB

#: How much more memory than an archive of 1 MiB any archive may take.
MOST_MORE = 150 * MIB


@pytest.fixture(scope="module")
def proxy(localstack: LocalStack) -> Iterator[Proxy]:
    with running_proxy(localstack.url) as running:
        yield running


@pytest.fixture(scope="module")
def worker(localstack: LocalStack, stack: Stack, proxy: Proxy) -> Iterator[Worker]:
    """A worker with the production's sizes of parts and numbers of threads, one job at a time, behind the proxy."""
    with running_worker(localstack, stack, endpoint=proxy.url, settings={"NOTIFY_FAILURES": "1"}) as running:
        yield running


@pytest.fixture(scope="module")
def large(client: StackClient) -> bytes:
    """The content of ``large.bin``: 64 MiB."""
    body = noise(64 * MIB, seed=64)
    client.put("large.bin", body)
    return body


@pytest.fixture(scope="module")
def small_peak(worker: Worker, client: StackClient) -> int:
    """The peak memory of the worker's child, in bytes, once it has built an archive of 1 MiB."""
    client.put("small.bin", noise(MIB))
    assert archived(client, {"files": [{"source": "small.bin"}]})["archive"]["size"] > MIB
    return peak_memory(worker)


def archived(client: StackClient, payload: dict[str, Any]) -> Any:
    """Send a payload; answer the notification of its success."""
    notification = client.notification(client.send(payload)).json
    assert notification["status"] == "succeeded", notification
    return notification


def copies_of_large(count: int) -> dict[str, Any]:
    return {"files": [{"source": "large.bin", "destination": f"copies/{n:02d}.bin"} for n in range(count)]}


def check_copies(archive: Path, large: bytes, *, count: int) -> None:
    """Every entry is the large object, by its CRC32 in the directory and by its bytes."""
    with zipfile.ZipFile(archive) as opened:
        assert opened.namelist() == [f"copies/{n:02d}.bin" for n in range(count)]
        assert {entry.CRC for entry in opened.infolist()} == {zlib.crc32(large)}
        assert opened.testzip() is None


def test_two_gibibytes_in_the_memory_of_one_mebibyte(
    worker: Worker, client: StackClient, large: bytes, small_peak: int, tmp_path: Path
) -> None:
    # given a worker that has built an archive of 1 MiB, and an object of 64 MiB
    # when the next archive holds it 32 times
    notification = archived(client, copies_of_large(32))

    # then the worker's child has hardly needed more
    assert notification["archive"]["size"] > 2 * GIB
    assert peak_memory(worker) - small_peak < MOST_MORE

    # and the archive is right
    path = tmp_path / "archive.zip"
    client.s3.download_file(notification["archive"]["bucket"], notification["archive"]["key"], str(path))
    check_copies(path, large, count=32)
    path.unlink()


def test_half_a_gibibyte_that_can_not_be_copied_inside_s3(
    worker: Worker, client: StackClient, proxy: Proxy, large: bytes, small_peak: int, tmp_path: Path
) -> None:
    # given an S3 that refuses every copy
    proxy.set_faults(on("UploadPartCopy", ACCESS_DENIED))
    proxy.reset()

    # when an archive holds the object of 64 MiB eight times
    try:
        notification = archived(client, copies_of_large(8))
        counts = proxy.counts()
    finally:
        proxy.set_faults(no_faults)

    # then all of it came through the worker, in the memory of a few parts
    assert counts.bytes_down > 512 * MIB
    assert counts.bytes_up > 512 * MIB
    assert peak_memory(worker) - small_peak < MOST_MORE

    # and the archive is right
    path = tmp_path / "archive.zip"
    client.s3.download_file(notification["archive"]["bucket"], notification["archive"]["key"], str(path))
    check_copies(path, large, count=8)
    path.unlink()


def test_seventy_thousand_entries(worker: Worker, client: StackClient, readers: Readers, tmp_path: Path) -> None:
    # given a hundred objects below a prefix, most of them empty, since each of the others is read 700 times
    bodies = {f"{n:02d}.txt": b"entry %d" % n if n % 50 == 0 else b"" for n in range(100)}
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda name: client.put(f"hundred/{name}", bodies[name]), bodies))

    # when a payload lists the prefix 700 times
    request_id = client.send({"files": [{"source": "hundred/", "destination": f"{n:03d}"} for n in range(700)]})
    notification = client.notification(request_id)
    assert notification.json["status"] == "succeeded", notification.body
    assert notification.json["archive"]["files"] == 70_000

    # then every reader tests it and lists 70,000 files, and those that need not extract to do so read each
    archive = client.download(notification, tmp_path)
    expected = {f"{n:03d}/{name}": sha256(body) for n in range(700) for name, body in bodies.items()}
    for reader in ("python", "java, as a stream", "java, as a file"):
        with contextlib.suppress(MissingReader):
            assert readers.read_by(reader, archive) == expected, reader
    assert names_by_program(archive) == {reader: sorted(expected) for reader in PROGRAMS if shutil.which(reader)}


#: How a program tests an archive, and how it lists the names, one a line; 7z with ``Path = `` before it.
PROGRAMS = {
    "unzip": (["-tqq"], ["-Z1"]),
    "7z": (["t", "-bd"], ["l", "-ba", "-slt"]),
    "bsdtar": (["-tf"], ["-tf"]),
}


def names_by_program(archive: Path) -> dict[str, list[str]]:
    """The names by program, for those that are installed: without the files, which take minutes to create."""
    names = {}
    for program, (test, listing) in PROGRAMS.items():
        if shutil.which(program):
            subprocess.run([program, *test, archive], check=True, capture_output=True, timeout=120)
            answer = subprocess.run(
                [program, *listing, archive], check=True, capture_output=True, text=True, timeout=120
            )
            lines = answer.stdout.splitlines()
            if program == "7z":
                lines = [line.removeprefix("Path = ") for line in lines if line.startswith("Path = ")]
            names[program] = sorted(lines)
    return names
