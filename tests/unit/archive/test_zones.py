"""The zone of the times in an archive that know no zone."""

import io
import zipfile
from dataclasses import replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from archiver.archive.build import Options
from archiver.archive.pipeline import build_archive
from tests.support.fake_s3 import MIB, Call, FakeS3
from tests.support.jobs import ARCHIVES, OPTIONS, SOURCES, delivery, files, logged, noise, services, text, unzipped


class Killed(Exception):
    """The worker process died here."""


def kill(_: Call) -> None:
    raise Killed


@pytest.mark.parametrize("compression", ["stored", "auto"])
def test_entries_have_local_times_in_the_zone_of_the_settings(s3: FakeS3, compression: str) -> None:
    s3.put_object(SOURCES, "a.csv", text(100_000))
    asked = files("a.csv") | {"compression": compression}
    tokyo = replace(OPTIONS, zone=ZoneInfo("Asia/Tokyo"))

    def local_time(options: Options, request_id: str) -> datetime:
        result = build_archive(asked, delivery=delivery(request_id=request_id), services=services(s3, options=options))
        content = s3.content(ARCHIVES, result.key)
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            (entry,) = archive.infolist()
            assert archive.testzip() is None
        central = content.rindex(b"PK\x01\x02")
        assert content[10:14] == content[central + 12 : central + 16], "the local header says the same"
        return datetime(*entry.date_time)

    assert local_time(tokyo, "2") - local_time(OPTIONS, "1") == timedelta(hours=9)


def test_an_upload_of_another_zone_is_not_resumed(s3: FakeS3) -> None:
    contents = {f"{n}.jpg": noise((11 + n) * MIB, seed=n) for n in range(3)}
    for key, content in contents.items():
        s3.put_object(SOURCES, key, content)
    s3.before("complete", kill)
    with pytest.raises(Killed):
        build_archive(files(*contents), delivery=delivery(), services=services(s3))
    s3.heal()

    with logged() as lines:
        tokyo = services(s3, options=replace(OPTIONS, zone=ZoneInfo("Asia/Tokyo")))
        result = build_archive(files(*contents), delivery=delivery(attempt=2), services=tokyo)

    assert "upload resumed" not in [line["event"] for line in lines]
    assert unzipped(s3.content(ARCHIVES, result.key)) == contents
