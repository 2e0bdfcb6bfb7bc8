"""A job that deflates and invites others for what it stores: cancelled, and asked for again."""

from dataclasses import replace

import pytest

from archiver.archive.pipeline import build_archive
from archiver.archive.progress import Progress
from archiver.archive.storage import CopyRefused
from archiver.errors import Cancelled
from tests.support.fake_crew import FakeCrew, help_with, helper
from tests.support.fake_s3 import MIB, Call, FakeS3
from tests.support.jobs import ARCHIVES, SOURCES, FakeCheckpoints, delivery, logged, noise, services, text, unzipped

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


def test_a_copy_that_is_refused_when_the_archive_is_to_be_completed_tells_of_its_source() -> None:
    """The deflated entries come first in the archive, whatever the order of the sources."""
    # given a part that a helper has copied and S3 does not have, and that S3 won't copy again
    files = {f"{n:02}.jpg": noise(12 * MIB, n) for n in range(3)} | {"z.csv": text(20 * MIB)}
    s3, fake = FakeS3(), FakeCrew()
    for key, content in files.items():
        s3.put_object(SOURCES, key, content)
    builder = services(s3, crew=fake.crew(), checkpoints=FakeCheckpoints())
    refused: list[str] = []

    def take() -> None:
        assert fake.queue.sent.wait(60)
        for invitation in list(fake.queue.invitations):
            help_with(helper(services(s3), fake), invitation)

    def refuse(call: Call) -> None:
        refused.append(call.source)
        raise CopyRefused("AccessDenied")

    def lose(_: Call) -> None:
        (upload,) = s3.uploads.values()
        del upload.parts[max(number for number in copied if number in upload.parts)]
        s3.before("copy_part", refuse, times=1)

    copied: set[int] = set()
    s3.before("copy_part", lambda call: copied.add(call.number))
    s3.before("complete", lose, times=1)
    fake.at_first = take

    # when the job is done
    with logged() as lines:
        result = build_archive(
            {"files": [{"source": key} for key in files], "compression": "auto"}, delivery=delivery(), services=builder
        )

    # then it has read that object
    told = [line["source"] for line in lines if line["event"].startswith("copy refused")]
    assert told == [f"s3://{SOURCES}/{key}" for key in refused]
    assert len(told) == 1
    assert unzipped(s3.content(ARCHIVES, result.key)) == files
