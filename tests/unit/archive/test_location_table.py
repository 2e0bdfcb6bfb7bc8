"""Locations are found by what they are."""

from hypothesis import given
from hypothesis import strategies as st

from archiver.archive.location import Location
from archiver.archive.location_table import LocationIndex, LocationTable


@given(st.lists(st.tuples(st.sampled_from("ab"), st.text("xy", max_size=4), st.sampled_from([None, "v"]))))
def test_an_index_finds_the_first_of_equal_ones(given: list[tuple[str, str, str | None]]) -> None:
    table = LocationTable()
    index = LocationIndex(table)
    first: dict[Location, int] = {}
    for bucket, key, version in given:
        number = table.append(bucket, key, version)
        index.add(number, Location(bucket, key, version))
        first.setdefault(Location(bucket, key, version), number)

    assert {location: index.find(location) for location in table} == first
    assert index.find(Location("a", "elsewhere")) is None
