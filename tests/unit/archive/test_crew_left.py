"""What a job has shared with others goes with its upload, whoever ends it."""

import pytest

from archiver.archive.crew import PLAN
from archiver.archive.pipeline import Services, abandon, build_archive
from archiver.errors import MissingSources
from tests.support.disturbances import Killed, kill
from tests.support.fake_crew import FakeCrew
from tests.support.fake_s3 import MIB, FakeS3
from tests.support.jobs import SOURCES, delivery, logged, noise, services
from tests.unit.archive.test_helper import s3

__all__ = ["s3"]

PAYLOAD = {"files": [{"source": f"photos/{n}.jpg"} for n in range(8)]}


@pytest.fixture
def fake() -> FakeCrew:
    return FakeCrew()


@pytest.fixture
def builder(s3: FakeS3, fake: FakeCrew) -> Services:
    """One whose first attempt has died, with its plan shared and a part uploaded."""
    fake.at_first = lambda: fake.queue.sent.wait(60)
    builder = services(s3, crew=fake.crew())
    s3.before("complete", kill, times=1)
    with pytest.raises(Killed):
        build_archive(PAYLOAD, delivery=delivery(), services=builder)
    assert s3.unfinished()
    ((*_, last),) = fake.objects.left.values()
    assert last == PLAN
    fake.objects.calls.clear()
    return builder


def test_of_an_abandoned_job(s3: FakeS3, builder: Services, fake: FakeCrew) -> None:
    abandon(PAYLOAD, delivery=delivery(2), services=builder)

    assert (s3.unfinished(), fake.objects.left) == ([], {})
    assert fake.objects.calls == {"sizes": 1, "delete": 1}


def test_of_a_job_that_ends_before_it_is_shared_again(s3: FakeS3, builder: Services, fake: FakeCrew) -> None:
    del s3.buckets[SOURCES]["photos/3.jpg"]

    with pytest.raises(MissingSources):
        build_archive(PAYLOAD, delivery=delivery(2), services=builder)

    assert (s3.unfinished(), fake.objects.left) == ([], {})


def test_of_an_upload_whose_plan_is_another_by_now(s3: FakeS3, builder: Services, fake: FakeCrew) -> None:
    s3.put_object(SOURCES, "photos/3.jpg", noise(3 * MIB, 99))

    build_archive(PAYLOAD, delivery=delivery(2), services=builder)

    assert (s3.unfinished(), fake.objects.left) == ([], {})


@pytest.mark.parametrize("denied", ["sizes", "delete"])
def test_what_may_not_be_deleted_is_said_and_stays(denied: str, s3: FakeS3, builder: Services, fake: FakeCrew) -> None:
    fake.objects.denied.add(denied)

    with logged() as lines:
        abandon(PAYLOAD, delivery=delivery(2), services=builder)

    assert s3.unfinished() == []
    (line,) = [line for line in lines if line["log_level"] == "warning"]
    assert line["event"] == "what was shared is not deleted: the lifecycle rule will"


def test_of_nobody_where_nothing_was_shared(s3: FakeS3, builder: Services, fake: FakeCrew) -> None:
    fake.objects.folders.clear()

    abandon(PAYLOAD, delivery=delivery(2), services=builder)

    assert fake.objects.calls == {"sizes": 1}
