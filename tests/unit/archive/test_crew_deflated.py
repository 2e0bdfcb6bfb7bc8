"""A job that deflates and invites others for what it stores: cancelled, and asked for again."""

from dataclasses import replace

import pytest

from archiver.archive.pipeline import build_archive
from archiver.archive.progress import Progress
from archiver.errors import Cancelled
from tests.support.fake_crew import FakeCrew, help_with, helper
from tests.support.fake_s3 import MIB, FakeS3
from tests.support.jobs import ARCHIVES, SOURCES, FakeCheckpoints, delivery, noise, services, text, unzipped

FILES = {"a.csv": text(20 * MIB)} | {f"{n:02}.jpg": noise(3 * MIB, n) for n in range(8)}
PAYLOAD = {"files": [{"source": key} for key in FILES], "compression": "auto"}


@pytest.mark.parametrize("again", [1, 2])
def test_a_job_that_is_cancelled_while_others_help_leaves_nothing_and_can_be_asked_for_again(again: int) -> None:
    # given a job whose stored rest others have built in part
    s3, fake, checkpoints = FakeS3(), FakeCrew(), FakeCheckpoints()
    for key, content in FILES.items():
        s3.put_object(SOURCES, key, content, checksum="none")
    builder = services(s3, crew=fake.crew(), checkpoints=checkpoints)
    other = helper(services(s3), fake)

    def take() -> None:
        assert fake.queue.sent.wait(60)
        help_with(other, fake.queue.invitations[-1])

    fake.at_first = take
    shared = []

    def cancel(progress: Progress) -> None:
        if fake.queue.invitations and progress.parts_done:
            shared.append(fake.objects.left)
            raise Cancelled("enough")

    # when it is cancelled
    with pytest.raises(Cancelled):
        build_archive(PAYLOAD, delivery=delivery(), services=builder, on_progress=cancel)

    # then nothing is left, and an attempt after it builds the whole
    assert shared
    assert (fake.objects.left, s3.unfinished()) == ({}, [])
    builder = replace(builder, crew=fake.crew())
    result = build_archive(PAYLOAD, delivery=delivery(again), services=builder)
    assert unzipped(s3.content(ARCHIVES, result.key)) == FILES
    assert (fake.objects.left, s3.unfinished(), s3.violations) == ({}, [], [])
