"""The one way to a client of AWS: its region, its timeouts and its retries.

Everything else is the SDK's own: AWS_ENDPOINT_URL, profiles, credentials that refresh themselves. A session of its own
for each call of ``new_session``, because sessions must not be shared between threads. They are botocore's, which makes
the same clients as boto3 and loads in less time.
"""

import gzip
import os
import re
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.config import Config
from botocore.loaders import JSONFileLoader, Loader
from botocore.session import Session
from pydantic_core import from_json

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds to connect and between two bytes of an answer, and attempts at one request, the first included.

    botocore's standard mode backs off between attempts.
    """

    connect: float
    read: float
    attempts: int


#: A job has time, and failing costs it much.
PATIENT = Timeouts(connect=5, read=60, attempts=8)
#: The worker's event loop waits for these calls, and a drain has only seconds.
PROMPT = Timeouts(connect=5, read=10, attempts=2)
#: Something beside a job: better no answer than a late one.
QUICK = Timeouts(connect=1, read=2, attempts=1)
#: A person waits: an answer, or the reason for none, within seconds.
BRIEF = Timeouts(connect=3, read=15, attempts=2)

# The public endpoints of SQS, its FIPS, dual-stack and VPC endpoints, and the names from before 2013:
# https://docs.aws.amazon.com/general/latest/gr/sqs-service.html
_QUEUE_HOSTS = (
    re.compile(
        r"https://(?:[a-z0-9-]+\.)?sqs(?:-fips)?\.(?P<region>[a-z]{2}(?:-[a-z]+)+-\d)\.(?:vpce\.)?amazonaws\.com(?:\.cn)?/"
    ),
    re.compile(r"https://sqs(?:-fips)?\.(?P<region>[a-z]{2}(?:-[a-z]+)+-\d)\.api\.(?:aws|amazonwebservices\.com\.cn)/"),
    re.compile(r"https://(?P<region>[a-z]{2}(?:-[a-z]+)+-\d)\.queue\.amazonaws\.com(?:\.cn)?/"),
)


def queue_region(queue: str | None) -> str | None:
    """The region in an AWS queue URL; None for a name, and for a URL of another server."""
    for host in _QUEUE_HOSTS:
        if url := host.match(queue or ""):
            return url["region"]
    return None


class DescriptionFiles(JSONFileLoader):
    """Reads descriptions into plain dictionaries: botocore's ordered ones, of a slower parser, take thrice the time."""

    def load_file(self, file_path: str) -> Any:
        """What a file without its ending describes; None where there is none."""
        for ending, content in ((".json", bytes), (".json.gz", gzip.decompress)):
            if (path := Path(file_path + ending)).is_file():
                return from_json(content(path.read_bytes()))
        return None


class _Models(Loader):
    """botocore's descriptions of services, read once a process, however many sessions there are."""

    def list_available_services(self, type_name: str) -> list[str]:
        """The names of all services, among which botocore seeks each; its own way looks into all their folders."""
        del type_name
        folders = [folder for path in self.search_paths if (folder := Path(path)).is_dir()]
        return sorted({service.name for folder in folders for service in folder.iterdir()})


@cache
def _models(paths: str | None) -> _Models:
    extra = [str(Path(os.path.expandvars(path)).expanduser()) for path in (paths or "").split(os.pathsep) if path]
    return _Models(extra_search_paths=extra, file_loader=DescriptionFiles())


def load_descriptions(*services: str) -> None:
    """Read what botocore makes clients of these services from: the processes that this one forks share it."""
    models = new_session().get_component("data_loader")
    for service in services:
        for kind in ("service-2", "endpoint-rule-set-1"):
            models.load_service_model(service, kind)


def new_session(region: str | None = None) -> Session:
    """A session from the SDK's own chain; ``region`` is the last resort.

    botocore reads AWS_DEFAULT_REGION and the profile alone, while ECS sets AWS_REGION: the settings bring that one.
    """
    session = Session()
    session.register_component("data_loader", _models(session.get_config_variable("data_path")))
    if region is not None and not session.get_config_variable("region"):
        session.set_config_variable("region", region)
    return session


def new_client(
    service: str,
    *,
    timeouts: Timeouts,
    queue: str | None = None,
    region: str | None = None,
    in_region: str | None = None,
    session: Session | None = None,
    config: Config | None = None,
) -> Any:
    """A client of a service: nothing is sent, but credentials may be looked up.

    ``in_region`` wins, or the region of ``queue``, where that is the URL of a queue of AWS, since a queue lives nowhere
    else; ``region`` is the last resort. Raises what botocore raises without any region.
    """
    session = session or new_session(region)
    base = Config(
        connect_timeout=timeouts.connect,
        read_timeout=timeouts.read,
        retries={"mode": "standard", "total_max_attempts": timeouts.attempts},
        signature_version="s3v4" if service == "s3" else "v4",
    )
    make: Any = session.create_client  # its overloads want a literal name
    return make(
        service,
        region_name=in_region or queue_region(queue) or session.get_config_variable("region") or region,
        config=base if config is None else base.merge(config),
    )


@lru_cache(maxsize=8)
def process_sqs_client(queue_url: str, *, region: str | None, pid: int) -> "SQSClient":
    """The process's own client for a queue; ``pid`` keeps a forked child from sharing its parent's sockets."""
    del pid
    client: SQSClient = new_client("sqs", timeouts=PROMPT, queue=queue_url, region=region)
    return client
