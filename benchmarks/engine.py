"""This project's engine as a program like its peers: settings from the environment, the job from a file."""

import json
import time

from archiver.loading import loading
from benchmarks.job import ArchiveJob

with loading():  # as the command does it
    from archiver.archive.pipeline import Delivery, build_archive
    from archiver.settings import load_settings
    from archiver.wiring import open_services


def build(job: ArchiveJob) -> str:
    payload = {"files": [{"source": entry.source, "destination": entry.destination} for entry in job.entries]}
    # The archive's key follows from the request's id, which is new for each run: nothing is found already built.
    request = Delivery(request_id=f"benchmark-{job.key}", sent_at=time.time())
    result = build_archive(payload, delivery=request, services=open_services(load_settings()))
    print(json.dumps(result.summary()))
    return result.key
