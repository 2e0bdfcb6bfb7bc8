"""What a person reads who runs a worker with DEV_MODE: a few short lines a job, however much it misses."""

import pytest

from tests.conftest import StackClient, StartWorker
from tests.support.waiting import eventually

pytestmark = [pytest.mark.acceptance, pytest.mark.localstack]

#: The longest line of a job: its link, or its reason.
LONGEST = 500


def test_a_job_is_a_few_short_lines(client: StackClient, start_worker: StartWorker) -> None:
    # given a job that succeeds, and one that fails for five hundred reasons
    worker = start_worker(DEV_MODE="1", NOTIFY_FAILURES="1")
    client.put("a.txt", b"text")
    good = client.send({"files": [{"source": "a.txt"}], "onMissing": "skip"})
    client.notification(good)
    bad = client.send({"files": [{"source": f"photos/2026/missing-{number:05}.jpg"} for number in range(500)]})
    client.notification(bad)
    # when both have ended
    assert eventually(lambda: f"job={good[:8]}" in worker.output() and "job failed" in worker.output())
    # then each has its begin, its news and its end, under the first digits of its id
    lines = worker.output().splitlines()
    of_good = [line for line in lines if f"job={good[:8]}" in line]
    of_bad = [line for line in lines if f"job={bad[:8]}" in line]
    assert [line.partition("] ")[2].partition(" job=")[0].strip() for line in of_good if "presigned" not in line] == [
        "job started",
        "unknown keys ignored",
        "sources resolved",
        "job done",
    ]
    assert "did_you_mean={'onMissing': 'on_missing'}" in of_good[1]
    assert good in of_good[0]
    assert [line for line in of_bad if "looking at sources" not in line][1:] == of_bad[-1:]
    assert "500 missing source(s): photos/2026/missing-00000.jpg" in of_bad[-1]
    assert max(map(len, of_good + of_bad)) < LONGEST
