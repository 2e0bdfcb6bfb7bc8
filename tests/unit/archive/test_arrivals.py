"""Entries are done when the last of their bytes has arrived, whatever the order."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.archive.arrivals import Arrivals
from archiver.archive.pipeline import build_archive
from archiver.archive.plan import Part
from archiver.archive.progress import Progress
from archiver.zipformat.entry import Entry
from archiver.zipformat.layout import Layout
from tests.support.fake_s3 import MIB, FakeS3
from tests.support.jobs import SOURCES, delivery, files, noise, services, text


@given(
    st.lists(st.integers(0, 300), max_size=12),
    st.lists(st.floats(0, 1, exclude_min=True, exclude_max=True), max_size=12),
    st.integers(0, 3),
    st.randoms(use_true_random=False),
)
def test_each_entry_counts_once_with_its_last_part(
    sizes: list[int], cuts: list[float], before: int, order: random.Random
) -> None:
    layout = Layout([Entry(name=f"{n}", size=size, modified=0) for n, size in enumerate(sizes)])
    stops = sorted({*(int(cut * layout.size) for cut in cuts), layout.size} - {0})
    whole = [Part(n, start, stop, None, 0) for n, (start, stop) in enumerate(zip([0, *stops], stops, strict=False), 1)]
    # What comes before the plan, such as deflated parts, is there.
    plan = whole[min(before, len(whole) - 1) :]
    start = plan[0].start
    arrivals = Arrivals(layout, plan)

    there: set[int] = set(range(start))
    done = sum(layout.data_end(entry) <= start for entry in range(len(sizes)))
    for part in order.sample(plan, len(plan)):
        done += arrivals.arrived(part)
        there |= set(range(part.start, part.stop))
        assert done == sum(
            there.issuperset(range(layout.header_offset(entry), layout.data_end(entry))) for entry in range(len(sizes))
        )


@pytest.mark.parametrize("compression", ["stored", "auto"])
def test_the_progress_of_a_build_moves_over_its_entries(compression: str) -> None:
    s3 = FakeS3()
    for number in range(8):
        s3.put_object(SOURCES, f"{number}.csv", noise(3 * MIB, seed=number).hex().encode())
        s3.put_object(SOURCES, f"{number}.jpg", noise(4 * MIB, seed=number))
    s3.put_object(SOURCES, "large.jpg", noise(20 * MIB))
    keys = [f"{number}.{kind}" for number in range(8) for kind in ("csv", "jpg")]
    seen: list[Progress] = []

    build_archive(
        files(*keys, "large.jpg") | {"compression": compression},
        delivery=delivery(),
        services=services(s3),
        on_progress=seen.append,
    )

    done = [progress.entries_done for progress in seen]
    assert done == sorted(done)
    assert (done[0], done[-1]) == (0, 17)
    assert len(set(done)) >= 4
    if compression == "auto":
        assert max(progress.entries_done for progress in seen if progress.step == "deflating") > 0


def test_of_an_archive_in_one_request_all_is_told_at_the_end() -> None:
    s3 = FakeS3()
    s3.put_object(SOURCES, "a.csv", text(1000))
    seen: list[Progress] = []

    build_archive(files("a.csv"), delivery=delivery(), services=services(s3), on_progress=seen.append)

    assert [progress.step for progress in seen] == ["resolved", "completed"]
