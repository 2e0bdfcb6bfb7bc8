"""One server, one proxy, and programs that are run on them one at a time."""

import argparse
import contextlib
import json
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

from benchmarks import process, report
from benchmarks.job import ArchiveJob
from benchmarks.servers import Server, running_server
from benchmarks.verify import Expected, check_archive
from benchmarks.workloads import Workload
from devtools.localstack import CHECKOUT
from devtools.proxy import RemoteProxy, spawned_proxy

#: Programs by name: the module that builds. The engine runs in this interpreter's environment, the peers in theirs.
ENGINE = {"archiver": "engine"}
PEERS = {
    "threads": "peers.threads",
    "threads, 64": "peers.threads64",
    "obstore": "peers.obstore_threads",
    "obstore, streaming": "peers.obstore_streaming",
    "in-memory": "peers.in_memory",
    "smart_open + zipfile": "peers.smart_open_zipfile",
    "stream-zip": "peers.stream_zip_fileobj",
    "zipstream-ng": "peers.zipstream_ng",
}
#: What ``make bench`` has installed from ``requirements.txt``.
PEERS_PYTHON = CHECKOUT / ".bench-venv" / "bin" / "python"
LIBRARIES = ("boto3", "obstore", "smart-open", "stream-zip", "zipstream-ng")


@dataclass(frozen=True, slots=True)
class Bench:
    """What stays the same for all runs."""

    server: Server
    s3: Any
    proxy: RemoteProxy
    scratch: Path
    engine_settings: Mapping[str, str]

    def environment(self, endpoint: str) -> dict[str, str]:
        return process.aws_environment(self.server, endpoint, self.scratch / "aws-config")

    def upload(self, bucket: str, workload: Workload, *, checksums: str = "default", scale: int = 1) -> Expected:
        """Store the sources, past the proxy; returns what their archive must hold."""
        arguments = ["-m", "benchmarks.sources", bucket, workload.name, checksums, str(scale)]
        _, manifest = process.run(PEERS_PYTHON, arguments, env=self.environment(self.server.url))
        crcs = json.loads(manifest)
        return {source.name: (crcs[source.key], source.size) for source in workload.sources}

    def run(self, program: str, job: ArchiveJob, *, expected: Expected) -> report.Run:
        """Run one program once, check its archive and delete it; raises ``ProgramError`` or ``WrongArchiveError``."""
        path = self.scratch / "job.json"
        job.save(path)
        env = self.environment(self.proxy.url)
        if program in ENGINE:
            python, module = Path(sys.executable), ENGINE[program]
            buckets = {"S3_SOURCE_BUCKET": job.source_bucket, "S3_DESTINATION_BUCKET": job.destination_bucket}
            env |= {"SQS_SOURCE_QUEUE": "unused", **buckets, **self.engine_settings}
        else:
            python, module = PEERS_PYTHON, PEERS[program]
        self.proxy.reset()
        usage, key = process.run(python, ["-m", "benchmarks.job", module, str(path)], env=env)
        counts = self.proxy.reset()
        archive = self.s3.Object(job.destination_bucket, key)
        size = check_archive(archive, expected=expected)
        archive.delete()
        return report.Run(usage=usage, counts=counts, archive_size=size)


@contextlib.contextmanager
def two_buckets(s3: Any) -> Iterator[tuple[str, str]]:
    """One for sources and one for archives, with new names; they go with all that is in them."""
    buckets = [s3.Bucket(f"bench-{name}-{uuid.uuid4().hex[:8]}") for name in ("sources", "archives")]
    for bucket in buckets:
        bucket.create()
    # The first write into a bucket makes SeaweedFS allocate volumes, which is nobody's merit.
    buckets[1].put_object(Key="warm-up", Body=b"warm-up")
    try:
        yield buckets[0].name, buckets[1].name
    finally:
        for bucket in buckets:
            for upload in bucket.multipart_uploads.all():
                upload.abort()
            bucket.objects.delete()
            bucket.delete()


def versions() -> str:
    """The peers' libraries, in a line."""
    program = "import sys; from importlib.metadata import version; print(*map(version, sys.argv[1:]))"
    _, numbers = process.run(PEERS_PYTHON, ["-c", program, *LIBRARIES], env={})
    return ", ".join(f"{name} {number}" for name, number in zip(LIBRARIES, numbers.split(), strict=True))


@contextlib.contextmanager
def open_bench(server_name: str, *, settings: Mapping[str, str]) -> Iterator[Bench]:
    """Start the server and the proxy; ``settings`` are the engine's. Raises ``RuntimeError``."""
    if not PEERS_PYTHON.exists():
        raise RuntimeError(f"the peers are not installed: there is no {PEERS_PYTHON}; run `make .bench-venv`")
    with (
        running_server(server_name, tools=PEERS_PYTHON.parent) as server,
        spawned_proxy(server.url) as proxy,
        tempfile.TemporaryDirectory(prefix="benchmark-") as scratch,
    ):
        s3 = boto3.resource(
            "s3",
            endpoint_url=server.url,
            region_name="us-east-1",
            aws_access_key_id=server.access_key,
            aws_secret_access_key=server.secret_key,
        )
        yield Bench(server, s3, proxy, Path(scratch), settings)


def note(line: str) -> None:
    """Say on standard error what goes on; the tables go to standard output."""
    print(line, file=sys.stderr, flush=True)


def common_options(program: str, description: str | None) -> argparse.ArgumentParser:
    """A command line with what all benchmarks on a server take."""
    parser = argparse.ArgumentParser(prog=program, description=description)
    parser.add_argument("--server", default="localstack", help="localstack, seaweedfs, or the http URL of one")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the engine")
    parser.add_argument("--output", type=Path, help="write the tables as Markdown, between the markers of a file")
    return parser
