"""What lies below prefixes, listed side by side: each object once and in order, whatever a server answers."""

import threading
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archiver.archive.access import Access
from archiver.archive.location import Location
from archiver.archive.patterns import Selection
from archiver.archive.prefixes import Front, Prefix, list_prefixes
from archiver.archive.source_table import SourceTable
from archiver.archive.storage import BucketMissing, ListedPage, SourceObject
from archiver.archive.traffic import Traffic
from archiver.errors import Cancelled, LimitExceeded, SourceAccessDenied, StorageUnavailable
from tests.support.fake_model import Call
from tests.support.fake_s3 import FakeS3
from tests.support.jobs import SOURCES
from tests.support.waiting import LONG_ENOUGH

COUNTERS = [f"p/{number:05d}.jpg" for number in range(3_000)]


def store(s3: FakeS3, keys: Iterable[str], *, page: int = 100) -> None:
    s3.page = page
    for key in keys:
        s3.put_object(SOURCES, key, b"")


def below(
    sources: Any,
    *prefixes: Prefix,
    window: int = 16,
    executor: Executor | None = None,
    most: int = 1_000_000,
    on_listed: Callable[[int], None] = lambda _: None,
    front: Front | None = None,
) -> list[list[str]]:
    """The keys of what each prefix brings."""
    table = SourceTable()
    with ThreadPoolExecutor(8) as threads:
        found = list_prefixes(
            prefixes or [prefix("p/")],
            into=table,
            sources=sources,
            executor=executor or threads,
            window=window,
            most=most,
            access=Access(),
            on_listed=on_listed,
            front=front,
        )
    return [[table[number].key for number in numbers] for numbers in found.values()]


def prefix(key: str, selection: Selection | None = None) -> Prefix:
    return Location(SOURCES, key), selection


class LastFirst(Executor):
    """Runs nothing before a result is wanted, and then the last first."""

    def __init__(self) -> None:
        self._left: list[Callable[[], None]] = []

    def submit(self, function: Callable[..., Any], /, *given: Any, **named: Any) -> Future[Any]:
        run_all = self._run_all

        class Late(Future[Any]):
            def result(self, timeout: float | None = None) -> Any:
                run_all()
                return super().result(timeout)

        future = Late()
        self._left.append(lambda: future.set_result(function(*given, **named)))
        return future

    def _run_all(self) -> None:
        while self._left:
            self._left.pop()()


class Server:
    """A bucket of these keys, and what its listing answers behind a key; it counts pages."""

    def __init__(self, keys: Iterable[str], answer: Callable[[list[str], str], list[str]], *, page: int = 100) -> None:
        self._keys = sorted(keys)
        self._page = page
        self._answer = answer
        self.pages = 0

    def below(self, prefix: Location, *, after: str | None = None) -> Iterator[ListedPage]:
        keys = [key for key in self._keys if key.startswith(prefix.key)]
        if after is not None:
            keys = self._answer(self._keys, after)
        for start in range(0, max(1, len(keys)), self._page):
            self.pages += 1
            stop = start + self._page
            page = [SourceObject(SOURCES, key, 1, '"e"', 1) for key in keys[start:stop]]
            yield ListedPage(page, stop < len(keys))


def behind(keys: list[str], after: str) -> list[str]:
    """What S3 answers."""
    return [key for key in keys[bisect_right(keys, after) :] if key.startswith("p/")]


def test_all_pages_bring_all_objects_in_order(s3: FakeS3) -> None:
    store(s3, [*COUNTERS, "o", "p", "pp", "q/1"])
    listed: list[int] = []

    assert below(s3.objects(Traffic()), on_listed=listed.append) == [COUNTERS]
    assert s3.calls["below"] <= 30 * 1.5 + 6
    assert sum(listed) == len(COUNTERS)


@settings(deadline=None, max_examples=30)
@given(
    st.sets(st.one_of(st.text("01Aaé/😀", min_size=1, max_size=6), st.integers(0, 999).map("{:03d}".format))),
    st.integers(1, 30),
    st.integers(1, 20),
)
def test_it_is_the_listing_whatever_the_keys_are(keys: set[str], page: int, window: int) -> None:
    s3 = FakeS3()
    s3.create_bucket(SOURCES)
    store(s3, (f"p/{key}" for key in keys), page=page)

    assert below(s3.objects(Traffic()), window=window) == [sorted(f"p/{key}" for key in keys)]


@pytest.mark.parametrize("count", [0, 1, 100])
def test_one_page_is_one_request(s3: FakeS3, count: int) -> None:
    store(s3, COUNTERS[:count])

    assert below(s3.objects(Traffic())) == [COUNTERS[:count]]
    assert s3.calls == {"below": 1}


def test_pages_are_under_way_side_by_side(s3: FakeS3) -> None:
    store(s3, COUNTERS)
    together = threading.Barrier(3)
    s3.before("below", lambda _: together.wait(LONG_ENOUGH), skip=1, times=3)

    assert below(s3.objects(Traffic())) == [COUNTERS]


def test_never_more_than_the_window_are_under_way(s3: FakeS3) -> None:
    store(s3, COUNTERS)
    lock, under_way, most = threading.Lock(), 0, 0
    objects = s3.objects(Traffic())

    class Watched:
        def below(self, prefix: Location, *, after: str | None = None) -> Iterator[ListedPage]:
            nonlocal under_way, most
            pages = objects.below(prefix, after=after)
            while True:
                with lock:
                    under_way += 1
                    most = max(most, under_way)
                page = next(pages, None)
                with lock:
                    under_way -= 1
                if page is None:
                    return
                yield page

    assert below(Watched(), window=3) == [COUNTERS]
    assert most <= 3


@pytest.mark.parametrize("form", ["{:05d}", "{:x}", "{}.jpg"])
def test_a_bucket_always_takes_the_same_requests(s3: FakeS3, form: str) -> None:
    """So a dry run can tell how many the build will take."""
    store(s3, (f"p/{form.format(number * number)}" for number in range(3_000)))
    requests = []

    for executor in (ThreadPoolExecutor(1), LastFirst()):
        s3.calls.clear()
        with executor:
            below(s3.objects(Traffic()), executor=executor)
        requests.append(s3.calls["below"])

    assert requests[0] == requests[1] > 30


def test_several_prefixes_are_listed_each_as_often_as_it_takes(s3: FakeS3) -> None:
    others = [f"q/{number:x}" for number in range(2_000)]
    store(s3, [*COUNTERS, *others, "r/", "r/1", "s/"])
    jpg = Selection(include=("*0.jpg",))

    found = below(
        s3.objects(Traffic()),
        *(prefix(key) for key in ("q/", "p/", "r/", "s/", "t/", "p/")),
        prefix("p/", jpg),
        most=2 * 3_000 + 2_000 + 1 + 300,
    )

    assert found == [sorted(others), COUNTERS, ["r/1"], ["s/"], [], COUNTERS[::10]]


def test_a_marker_that_pages_follow_is_left_out_and_costs_no_guesses(s3: FakeS3) -> None:
    store(s3, COUNTERS)
    assert below(s3.objects(Traffic())) == [COUNTERS]
    without = s3.calls.pop("below")
    store(s3, ["p/"])

    assert below(s3.objects(Traffic())) == [COUNTERS]
    assert s3.calls["below"] <= without + 1


def test_the_limit_ends_it_soon(s3: FakeS3) -> None:
    store(s3, [f"p/{number:06d}" for number in range(5_000)], page=10)

    with pytest.raises(LimitExceeded, match="MAX_FILES=200"):
        below(s3.objects(Traffic()), most=200)

    assert s3.calls["below"] <= 200 / 10 * 1.5 + 6 + 2 * 16


def test_the_limit_is_not_passed_by_what_is_just_within_it(s3: FakeS3) -> None:
    store(s3, COUNTERS)

    assert below(s3.objects(Traffic()), most=len(COUNTERS)) == [COUNTERS]


class Offered:
    """What is offered ahead, until there are so many."""

    def __init__(self, most: int = 1_000_000) -> None:
        self.keys: list[str] = []
        self._most = most

    def offer(self, sources: Iterable[SourceObject]) -> bool:
        self.keys += [source.key for source in sources]
        return len(self.keys) < self._most


class TestWhatIsOfferedAhead:
    @pytest.mark.parametrize("window", [1, 2, 16])
    def test_is_the_beginning_of_the_listing_but_for_what_comes_last(self, s3: FakeS3, window: int) -> None:
        store(s3, COUNTERS)
        offered = Offered()
        below(s3.objects(Traffic()), window=window, front=Front(offered, 1))

        # With more than one page at a time the last may be one that has nothing.
        most = len(COUNTERS) - (100 if window == 1 else 0)
        assert 100 <= len(offered.keys) <= most
        assert offered.keys == COUNTERS[: len(offered.keys)]

    def test_is_in_order_whatever_order_pages_come_in(self, s3: FakeS3) -> None:
        store(s3, COUNTERS)
        offered = Offered()
        below(s3.objects(Traffic()), executor=LastFirst(), front=Front(offered, 1))

        assert offered.keys == COUNTERS[: len(offered.keys)] != []

    def test_is_nothing_of_one_page(self, s3: FakeS3) -> None:
        store(s3, COUNTERS[:100])
        offered = Offered()
        below(s3.objects(Traffic()), front=Front(offered, 1))

        assert offered.keys == []

    def test_goes_from_one_prefix_to_the_next_of_the_first_ones(self, s3: FakeS3) -> None:
        store(s3, [f"{name}/{number:02}" for name in "abcd" for number in range(25)], page=10)
        offered = Offered()
        prefixes = [prefix(f"{name}/") for name in "cabd"]
        found = below(s3.objects(Traffic()), *prefixes, front=Front(offered, 3))

        assert offered.keys == [key for keys in found[:3] for key in keys][: len(offered.keys)]
        assert offered.keys[:25] == found[0]

    def test_ends_once_no_more_is_wanted(self, s3: FakeS3) -> None:
        store(s3, COUNTERS)
        offered = Offered(most=50)
        below(s3.objects(Traffic()), front=Front(offered, 1))

        assert offered.keys == COUNTERS[:100]

    def test_begins_anew_with_the_listing(self) -> None:
        keys = [f"p/{number:05d}" for number in range(37, 2_500, 3)]
        server = Server([*keys, "q/1"], lambda keys, after: [])
        offered = Offered()
        assert below(server, front=Front(offered, 1)) == [keys]

        again = offered.keys.index(keys[0], 1)
        assert offered.keys[:again] == keys[:again]
        assert offered.keys[again:] == keys[: len(offered.keys) - again]

    def test_is_what_the_selection_takes(self, s3: FakeS3) -> None:
        store(s3, COUNTERS)
        offered = Offered()
        (found,) = below(s3.objects(Traffic()), prefix("p/", Selection(include=("*7.jpg",))), front=Front(offered, 1))

        assert offered.keys == found[: len(offered.keys)] != []


class TestAnAnswerThatDoesNotFit:
    """The prefix is listed page after page: nothing is lost, and nothing comes or counts twice."""

    @pytest.mark.parametrize(
        "answer",
        [
            lambda keys, after: [key for key in keys if key.startswith("p/")],
            lambda keys, after: behind(keys, after) if after in keys else [],
            lambda keys, after: keys[bisect_right(keys, after) :],
            lambda keys, after: behind(keys, after)[::-1],
            lambda keys, after: behind(keys, after)[150:],
            lambda keys, after: [],
            lambda keys, after: behind(keys, after[:-1]),
        ],
        ids=["from the start", "none such", "no prefix", "backwards", "too late", "nothing", "too early"],
    )
    def test_to_where_it_begins(self, answer: Callable[[list[str], str], list[str]]) -> None:
        # No page ends where a range does.
        keys = [f"p/{number:05d}" for number in range(37, 2_500, 3)]
        server = Server([*keys, "a", "q/1"], answer)

        assert below(server, most=len(keys)) == [keys]

    @pytest.mark.parametrize("error", [StorageUnavailable("no"), SourceAccessDenied("no"), BucketMissing(SOURCES)])
    def test_since_it_refuses(self, error: Exception) -> None:
        def refuse(keys: list[str], after: str) -> list[str]:
            raise error

        server = Server(COUNTERS, refuse)

        assert below(server, most=len(COUNTERS)) == [COUNTERS]

    def test_to_the_order_of_others(self) -> None:
        """As of a server whose order is another: it is taken as it comes."""
        keys = [f"p/{number:05d}" for number in range(1_000)]
        server = Server(keys, behind)
        server._keys = keys[::-1]

        assert below(server) == [keys[::-1]]
        assert server.pages == 10

    def test_to_an_order_without_case(self) -> None:
        """Each page has S3's order, too, and yet no range has ``p/abb``."""

        def caseless(key: str) -> tuple[str, str]:
            return key.lower(), key

        keys = ["p/a", "p/aBB", "p/abb", "p/b"]
        server = Server(keys, lambda keys, after: [key for key in keys if caseless(key) > caseless(after)], page=2)
        server._keys = sorted(keys, key=caseless)

        assert below(server, most=len(keys)) == [keys]


class TestAnError:
    def test_of_the_first_page_is_the_servers(self, s3: FakeS3) -> None:
        with pytest.raises(BucketMissing):
            below(s3.objects(Traffic()), (Location("none", "p/"), None))

    @pytest.mark.parametrize("error", [StorageUnavailable("no"), SourceAccessDenied("no"), Cancelled("no")])
    @pytest.mark.parametrize("skip", [0, 1, 2, 9])
    def test_that_stays_is_told(self, s3: FakeS3, error: Exception, skip: int) -> None:
        store(s3, COUNTERS)

        def fail(_: Call) -> None:
            raise error

        s3.before("below", fail, skip=skip)

        with pytest.raises(type(error)):
            below(s3.objects(Traffic()))

    def test_that_passes_costs_another_listing(self) -> None:
        errors = [StorageUnavailable("no")]

        def fail_once(keys: list[str], after: str) -> list[str]:
            if errors:
                raise errors.pop()
            return behind(keys, after)

        server = Server(COUNTERS, fail_once)

        assert below(server, most=len(COUNTERS)) == [COUNTERS]
        assert server.pages > 30


def test_objects_that_come_and_go_meanwhile_do_no_harm_to_the_others(s3: FakeS3) -> None:
    store(s3, COUNTERS)
    numbers = iter(range(1_000_000))

    def change(_: Call) -> None:
        number = next(numbers)
        s3.delete_object(SOURCES, COUNTERS[number * 97 % 3_000])
        s3.put_object(SOURCES, f"p/{number * 89 % 3_000:05d}.new", b"")

    s3.before("below", change)

    (found,) = below(s3.objects(Traffic()))

    deleted = set(COUNTERS) - set(s3.buckets[SOURCES])
    assert found == sorted(set(found)), "each once, in order"
    assert set(COUNTERS) - deleted <= set(found)
