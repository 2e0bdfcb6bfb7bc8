"""Whatever is flipped on the way, and whenever the worker dies: no archive has a byte that S3 knows to be another."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from archiver.archive.pipeline import build_archive
from archiver.errors import StorageUnavailable
from tests.support.fake_s3 import MIB, Call, Checksum, FakeS3, flip
from tests.support.jobs import ARCHIVES, SOURCES, delivery, files, noise, services, text, unzipped


class Killed(Exception):
    """The worker process died here: nothing of ours handles it."""


@dataclass(frozen=True, slots=True)
class Source:
    size: int
    checksum: Checksum
    shrinks: bool

    def content(self, index: int) -> bytes:
        return text(self.size) if self.shrinks else noise(self.size, seed=index + 1)


sources = st.builds(
    Source,
    size=st.integers(1, 2_000) | st.sampled_from([64 * 1024, 64 * 1024 + 1, MIB, 5 * MIB, 5 * MIB + 1])
    | st.integers(5 * MIB, 23 * MIB),
    checksum=st.sampled_from(["full", "composite"]),
    shrinks=st.booleans(),
)  # fmt: skip


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    database=None,
)
@given(
    wanted=st.lists(sources, min_size=1, max_size=4),
    compression=st.sampled_from(["stored", "stored", "auto"]),
    listed=st.booleans(),
    share=st.sampled_from([0.05, 0.2, 0.5]),
    seed=st.integers(0, 2**16),
)
def test_no_success_is_a_wrong_one(
    wanted: list[Source], compression: str, listed: bool, share: float, seed: int
) -> None:
    # Given objects that S3 has CRC32s of, reads and copies that flip bits, and a worker that dies now and then,
    s3 = FakeS3()
    contents = {f"p/{index}.txt": source.content(index) for index, source in enumerate(wanted)}
    for (key, content), source in zip(contents.items(), wanted, strict=True):
        s3.put_object(SOURCES, key, content, checksum=source.checksum, part_size=6 * MIB)
    dice = random.Random(seed)
    for operation in ("fetch_small", "read", "copy_part"):
        for _ in range(20):
            s3.before(operation, flip, skip=int(dice.expovariate(share)), times=1)
    s3.before("put_part", at_random(dice, 0.1))

    # when deliveries follow each other until one succeeds, the last of them on a good day,
    for attempt in range(1, 8):
        if attempt == 7:
            s3.heal()
        try:
            result = build_archive(
                files(*(["p/"] if listed else contents)) | {"compression": compression},
                delivery=delivery(attempt),
                services=services(s3),
            )
            break
        except (StorageUnavailable, Killed):
            assert not s3.buckets.get(ARCHIVES)

    # then the archive is right.
    assert unzipped(s3.content(ARCHIVES, result.key)) == {key[2:]: content for key, content in contents.items()}
    assert s3.violations == []


def at_random(dice: random.Random, share: float) -> Callable[[Call], None]:
    def kill(_: Call) -> None:
        if dice.random() < share:
            raise Killed

    return kill
