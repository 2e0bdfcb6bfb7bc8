"""One server, one proxy, and programs that are run on them one at a time."""

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

from benchmarks import environment, process, report
from benchmarks.job import ArchiveJob
from benchmarks.servers import Server, running_server
from benchmarks.verify import Expected, check_archive
from benchmarks.workloads import Workload
from devtools.proxy import RemoteProxy, spawned_proxy

#: Programs by name: the module that is run. The engine runs in this interpreter's environment, the peers in theirs.
ENGINE = {"archiver": "benchmarks.engine"}
PEERS = {
    "threads": "benchmarks.peers.threads",
    "in-memory": "benchmarks.peers.in_memory",
    "smart_open + zipfile": "benchmarks.peers.smart_open_zipfile",
    "stream-zip": "benchmarks.peers.stream_zip_fileobj",
    "zipstream-ng": "benchmarks.peers.zipstream_ng",
}


@dataclass(frozen=True, slots=True)
class Bench:
    """What stays the same for all runs."""

    server: Server
    s3: Any
    proxy: RemoteProxy
    peers: Path
    scratch: Path
    engine_settings: Mapping[str, str]

    def environment(self, endpoint: str) -> dict[str, str]:
        return process.aws_environment(self.server, endpoint, self.scratch / "aws-config")

    def upload(self, bucket: str, workload: Workload, *, checksums: str = "default", scale: int = 1) -> Expected:
        """Store the sources, past the proxy; returns what their archive must hold."""
        arguments = ["-m", "benchmarks.sources", bucket, workload.name, checksums, str(scale)]
        _, manifest = process.run(self.peers, arguments, env=self.environment(self.server.url))
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
            python, module = self.peers, PEERS[program]
        self.proxy.reset()
        usage, key = process.run(python, ["-m", module, str(path)], env=env)
        counts = self.proxy.reset()
        size = check_archive(self.s3, bucket=job.destination_bucket, key=key, expected=expected)
        self.s3.delete_object(Bucket=job.destination_bucket, Key=key)
        return report.Run(usage=usage, counts=counts, archive_size=size)


@contextlib.contextmanager
def bucket(s3: Any, name: str) -> Iterator[str]:
    """A bucket for the length of the block; whatever is in it at the end goes with it."""
    s3.create_bucket(Bucket=name)
    try:
        yield name
    finally:
        for upload in s3.list_multipart_uploads(Bucket=name).get("Uploads", []):
            s3.abort_multipart_upload(Bucket=name, Key=upload["Key"], UploadId=upload["UploadId"])
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=name):
            keys = [{"Key": item["Key"]} for item in page.get("Contents", [])]
            if keys:
                s3.delete_objects(Bucket=name, Delete={"Objects": keys, "Quiet": True})
        s3.delete_bucket(Bucket=name)


@contextlib.contextmanager
def open_bench(server_name: str, *, settings: Mapping[str, str]) -> Iterator[Bench]:
    """Start the server and the proxy, and make sure of the peers' environment; ``settings`` are the engine's."""
    peers = environment.peers_python()
    with (
        running_server(server_name, tools=peers.parent) as server,
        spawned_proxy(server.url) as proxy,
        tempfile.TemporaryDirectory(prefix="benchmark-") as scratch,
    ):
        s3 = boto3.client(
            "s3",
            endpoint_url=server.url,
            region_name="us-east-1",
            aws_access_key_id=server.access_key,
            aws_secret_access_key=server.secret_key,
        )
        yield Bench(server, s3, proxy, peers, Path(scratch), settings)


@contextlib.contextmanager
def two_buckets(s3: Any) -> Iterator[tuple[str, str]]:
    """One for sources and one for archives, with new names."""
    tag = uuid.uuid4().hex[:8]
    with bucket(s3, f"bench-sources-{tag}") as sources, bucket(s3, f"bench-archives-{tag}") as archives:
        # The first write into a bucket makes SeaweedFS allocate volumes, which is nobody's merit.
        s3.put_object(Bucket=archives, Key="warm-up", Body=b"warm-up")
        yield sources, archives


def note(line: str) -> None:
    """Say on standard error what goes on; the tables go to standard output."""
    print(line, file=sys.stderr, flush=True)
