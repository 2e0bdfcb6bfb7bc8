"""Who may ask for what."""

import pytest

from archiver.archive.access import Access
from archiver.archive.key import archive_key
from archiver.archive.location import Location

KEY = archive_key({}, request_id="r", sent_at=0, prefix="photos")


@pytest.mark.parametrize(
    ("access", "bucket", "allowed"),
    [
        (Access(), "any", True),
        (Access(archives="zips"), "any", True),
        (Access(archives="zips"), "zips", False),
        (Access(sources="zips", archives="zips"), "zips", True),
        (Access(("zips",), archives="zips"), "zips", True),
        (Access(("others",), archives="zips"), "zips", False),
        (Access(("others",), sources="zips", archives="zips"), "zips", False),
    ],
)
def test_which_bucket_may_be_named(access: Access, bucket: str, allowed: bool) -> None:
    complaint = access.complaint(Location(bucket, "key"))

    assert (complaint is None) == allowed
    assert allowed or repr(bucket) in str(complaint)


@pytest.mark.parametrize(
    ("bucket", "key", "comes"),
    [
        ("zips", KEY, False),
        ("zips", KEY.replace("photos", "an-earlier-prefix"), False),
        ("zips", f"copies/{KEY}", True),
        ("zips", "report.zip", True),
        ("others", KEY, True),
    ],
)
def test_what_comes_along_with_a_prefix(bucket: str, key: str, comes: bool) -> None:
    assert Access(archives="zips").comes_along(bucket, key) == comes
