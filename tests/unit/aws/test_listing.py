"""A page of a listing, read as boto3 reads it."""

from urllib.parse import quote_plus
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.aws.listing import page_query, read_page
from archiver.errors import StorageUnavailable

SPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


def answer(keys: list[str], *, token: str | None = None, encoded: bool = True) -> bytes:
    """What S3 answers: with encoding-type=url, keys are percent-encoded and a space is a plus."""
    items = "".join(
        f"<Contents><Key>{escape(quote_plus(key, safe='/') if encoded else key)}</Key>"
        "<LastModified>2026-11-26T04:00:00.000Z</LastModified><ETag>&quot;abc&quot;</ETag>"
        "<Size>12</Size><StorageClass>STANDARD</StorageClass></Contents>"
        for key in keys
    )
    kind = "<EncodingType>url</EncodingType>" if encoded else ""
    more = f"<NextContinuationToken>{token}</NextContinuationToken>" if token else ""
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="{SPACE}"><Name>b</Name>{kind}'
        f"<IsTruncated>{'true' if token else 'false'}</IsTruncated>{more}{items}</ListBucketResult>"
    ).encode()


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40), max_size=5))
def test_every_key_comes_back_as_it_is(keys: list[str]) -> None:
    page = read_page("b", answer(keys))
    assert [source.key for source in page.objects] == keys
    assert page.next_token is None


def test_size_etag_and_time_are_the_objects() -> None:
    (source,) = read_page("b", answer(["a"])).objects
    assert (source.bucket, source.size, source.etag, source.modified) == ("b", 12, '"abc"', 1_795_665_600)


def test_a_server_that_encodes_nothing_is_read_too() -> None:
    (source,) = read_page("b", answer(["a+b%20"], encoded=False)).objects
    assert source.key == "a+b%20"


def test_the_next_page_has_its_token() -> None:
    assert read_page("b", answer(["a"], token="t/+=")).next_token == "t/+="
    assert page_query(prefix="p/", token="t") == {
        "list-type": "2",
        "encoding-type": "url",
        "prefix": "p/",
        "continuation-token": "t",
    }
    assert page_query(prefix="p/", after="k")["start-after"] == "k"


@pytest.mark.parametrize("content", [b"", b"<html>", b"<html></html>", b"not xml"])
def test_a_page_that_is_not_s3s_is_a_failure(content: bytes) -> None:
    with pytest.raises(StorageUnavailable, match="listing b failed"):
        read_page("b", content)
