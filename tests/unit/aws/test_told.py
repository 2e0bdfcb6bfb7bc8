"""What a process remembers of buckets that tell CRC32s."""

from archiver.aws.told import MOST_BUCKETS, Told


def test_the_newest_counts() -> None:
    told = Told()
    assert not told.of("photos")
    told.see("photos", tells=True)
    assert told.of("photos")
    assert not told.of("others")
    told.see("photos", tells=False)
    assert not told.of("photos")


def test_it_remembers_so_many_and_no_more() -> None:
    told = Told()
    for number in range(MOST_BUCKETS):
        told.see(f"{number}", tells=True)
    told.see("0", tells=True)
    assert told.of("1")
    told.see("one more", tells=True)
    assert told.of("one more")
    assert not told.of("1")
