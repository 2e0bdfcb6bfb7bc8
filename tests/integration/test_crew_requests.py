"""What a job asks of S3 and SQS where nobody is invited: what it always did, and nothing more."""

from collections import Counter
from typing import Any

import pytest

from devtools.localstack import LocalStack
from devtools.messages import depth
from devtools.proxy import running_proxy
from tests.conftest import StartWorker
from tests.integration.crew_site import FILES, MIB, Site
from tests.support.waiting import eventually

pytestmark = [pytest.mark.localstack, pytest.mark.slow]

#: The requests of a job of eighteen photos of 3 MiB below a prefix, in ten parts and a marker. Polls are not
#: the job's.
ASKED = {
    "ListObjectsV2": 1,
    "GetObject": 18,
    "CreateMultipartUpload": 1,
    "UploadPart": 11,
    "CompleteMultipartUpload": 1,
    "SendMessage": 1,
    "DeleteMessage": 1,
}


@pytest.mark.parametrize("crew", [{}, {"CREW_MIN_BYTES": str(1024 * MIB)}], ids=["unset", "below CREW_MIN_BYTES"])
def test_a_job_that_invites_nobody(
    crew: dict[str, Any], site: Site, localstack: LocalStack, start_worker: StartWorker
) -> None:
    # given a worker that has done a job, so that it has its connections and knows its queues
    stack, sqs = site.client.stack, site.client.sqs
    settings: dict[str, Any] = {"PART_SIZE_MIB": "5", **({"SQS_CREW_QUEUE": site.crew_url} if crew else {}), **crew}
    with running_proxy(localstack.url) as proxy:
        start_worker(endpoint=proxy.url, **settings)
        for _ in range(2):
            proxy.reset()
            site.check(site.client.send({"files": [{"source": "photos/"}]}))
            assert eventually(lambda: depth(sqs, stack.input_url) == (0, 0, 0))
        # then the next one asks for just this
        asked = Counter(proxy.counts().requests)
    del asked["ReceiveMessage"]
    assert dict(asked) == ASKED
    assert len(FILES) == 18
