"""Whatever the sources, what they tell of themselves and what S3 refuses: the archive is what zipfile reads back."""

import random
import time
from dataclasses import dataclass, replace

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from archiver.archive.pipeline import build_archive
from archiver.archive.storage import CopyRefused
from tests.support.fake_s3 import MIB, Call, Checksum, FakeS3
from tests.support.jobs import ARCHIVES, OPTIONS, SOURCES, FakeNotifier, delivery, noise, services, text, unzipped

KEEP = 5 * MIB


@dataclass(frozen=True, slots=True)
class Source:
    size: int
    checksum: Checksum
    shrinks: bool
    copyable: bool

    def content(self, index: int) -> bytes:
        return text(self.size) if self.shrinks else noise(self.size, seed=index + 1)


boundaries = st.sampled_from([KEEP, 2 * KEEP, 8 * MIB]).flatmap(
    lambda size: st.sampled_from([size - 1, size, size + 1]) | st.integers(size - 150, size + 150)
)
sources = st.builds(
    Source,
    size=st.integers(0, 2_000) | st.integers(60_000, 70_000) | boundaries | st.integers(MIB, 17 * MIB),
    checksum=st.sampled_from(["full", "composite", "none"]),
    shrinks=st.booleans(),
    copyable=st.sampled_from([True, True, True, False]),
)


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    database=None,
)
@given(
    wanted=st.lists(sources, min_size=1, max_size=5),
    compression=st.sampled_from(["stored", "stored", "auto"]),
    parts_in_flight=st.integers(2, 4),
    tells_part_checksums=st.booleans(),
    order=st.integers(0, 2**16),
)
@example(
    # The second could be copied but for the rule that a range wants a source of more than 5 MiB.
    wanted=[Source(KEEP, "full", shrinks=False, copyable=True)] * 2,
    compression="stored",
    parts_in_flight=2,
    tells_part_checksums=True,
    order=0,
)
def test_the_archive_holds_every_source(
    wanted: list[Source], compression: str, parts_in_flight: int, tells_part_checksums: bool, order: int
) -> None:
    # Given objects of these sizes, some of which S3 won't copy, and requests that overtake each other,
    s3 = FakeS3()
    s3.tells_part_checksums = tells_part_checksums
    contents = {f"{index}-ä.bin": source.content(index) for index, source in enumerate(wanted)}
    for (key, content), source in zip(contents.items(), wanted, strict=True):
        s3.put_object(SOURCES, key, content, checksum=source.checksum)
    refuse_copies(s3, {key for key, source in zip(contents, wanted, strict=True) if not source.copyable})
    overtake(s3, order)

    # when the archive is built,
    result = build_archive(
        {"files": [{"source": key} for key in contents], "compression": compression},
        delivery=delivery(),
        services=services(s3, notifier=FakeNotifier(), options=replace(OPTIONS, parts_in_flight=parts_in_flight)),
    )

    # then it holds what the sources hold, within S3's limits and bounded memory, and nothing else is left.
    archive = s3.content(ARCHIVES, result.key)
    assert unzipped(archive) == contents
    assert result.size == len(archive)
    assert s3.violations == []
    assert s3.unfinished() == []
    # A literal part has at most 15 MiB and, before a copy, 5 MiB and a header more.
    assert s3.peak_held <= parts_in_flight * (20 * MIB + 1024) + (
        parts_in_flight * 5 * MIB if compression == "auto" else 0
    )


def refuse_copies(s3: FakeS3, keys: set[str]) -> None:
    def refuse(call: Call) -> None:
        if call.source in keys:
            raise CopyRefused("AccessDenied: no copies today")

    s3.before("copy_part", refuse)


def overtake(s3: FakeS3, seed: int) -> None:
    dice = random.Random(seed)
    for operation in ("put_part", "copy_part", "read", "fetch_small", "head"):
        s3.before(operation, lambda _: time.sleep(dice.random() / 1000))
