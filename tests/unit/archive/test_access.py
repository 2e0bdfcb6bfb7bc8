"""Who may ask for what."""

import pytest

from archiver.archive.access import Access
from archiver.archive.key import archive_key
from archiver.archive.location import Location
from archiver.archive.pipeline import build_archive
from archiver.archive.resolve import Limits
from archiver.errors import LimitExceeded
from tests.support.fake_s3 import FakeS3
from tests.support.jobs import ARCHIVES, SOURCES, delivery, files, services, unzipped

KEY = archive_key("{}", request_id="r", sent_at=0, prefix="photos")


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
        ("zips", f"team/{KEY}", False),
        ("zips", "report.zip", True),
        ("zips", f"{KEY}.txt", True),
        ("others", KEY, True),
    ],
)
def test_what_comes_along_with_a_prefix(bucket: str, key: str, comes: bool) -> None:
    assert Access(archives="zips").comes_along(bucket, key) == comes


def test_the_archives_bucket_is_no_source(s3: FakeS3) -> None:
    s3.put_object(SOURCES, "photos/1.jpg", b"photo")
    built = build_archive(files("photos/"), delivery=delivery(), services=services(s3))
    guarded = services(s3, limits=Limits(9, 1 << 40, access=Access(sources=SOURCES, archives=ARCHIVES)))
    s3.calls.clear()

    for source in (f"s3://{ARCHIVES}/", f"s3://{ARCHIVES}/{built.key}"):
        with pytest.raises(LimitExceeded, match=r"files\[1\]\.source: bucket 'zip-storage' is that of the archives"):
            build_archive(files("photos/1.jpg", source), delivery=delivery(), services=guarded)
    assert not s3.calls, "nothing is read for a request that is not allowed"


@pytest.mark.parametrize("access", [Access((SOURCES, ARCHIVES), archives=ARCHIVES), Access((), ARCHIVES, ARCHIVES)])
def test_where_it_is_one_archives_do_not_come_along_with_a_prefix(s3: FakeS3, access: Access) -> None:
    s3.put_object(SOURCES, "photos/1.jpg", b"photo")
    built = build_archive(files("photos/"), delivery=delivery(), services=services(s3))
    s3.put_object(ARCHIVES, "reports/june.txt", b"june")
    shared = services(s3, limits=Limits(9, 1 << 40, access=access))

    whole = build_archive(files(f"s3://{ARCHIVES}/"), delivery=delivery(request_id="2"), services=shared)
    named = build_archive(files(f"s3://{ARCHIVES}/{built.key}"), delivery=delivery(request_id="3"), services=shared)

    assert list(unzipped(s3.buckets[ARCHIVES][whole.key][-1].content)) == ["reports/june.txt"]
    assert named.files == 1, "who names an archive has its key from somebody who may"


@pytest.mark.parametrize("key", ["status/r.json", "archiver-hand-backs/m"])
def test_what_the_service_writes_for_itself_is_no_source(key: str) -> None:
    own = Access(sources="zips", archives="zips", reserved=("status/", "archiver-hand-backs/"))

    assert "objects of its own" in str(own.complaint(Location("zips", key)))
    assert not own.comes_along("zips", key)
    assert own.complaint(Location("zips", "photos/a.jpg")) is None
    assert own.complaint(Location("photos", key)) is None
