"""What a payload can ask for, from the message on the queue to the archive in six readers' hands."""

import json
import re
import urllib.request
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from devtools.localstack import CHECKOUT
from devtools.worker import Worker
from tests.acceptance.conftest import Delivered
from tests.conftest import StackClient
from tests.support.jobs import noise, text
from tests.support.oracles import sha256
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

pytestmark = [pytest.mark.acceptance, pytest.mark.localstack, pytest.mark.usefixtures("worker")]

MIB = 1024 * 1024


def test_the_payload_of_the_documentation(
    client: StackClient, s3: "S3Client", delivered: Delivered, tmp_path: Path
) -> None:
    # given the objects that the example names
    payload = json.loads((CHECKOUT / "docs" / "examples" / "payload.json").read_text())
    s3.create_bucket(Bucket="foobar")
    pictures = {number: noise(20_000 + number, seed=number) for number in (1, 2, 3)}
    client.put("example-directory/uuid1.png", pictures[1])
    s3.put_object(Bucket="foobar", Key="example-directory/uuid2.png", Body=pictures[2])
    client.put("example-directory/uuid3.png", pictures[3])

    # when it is sent as it stands
    request_id = client.send(payload)

    # then the archive has both albums
    notification = delivered(
        request_id,
        {
            "album_1/uuid1.png": pictures[1],
            "album_1/uuid2.png": pictures[2],
            "album_2/uuid3.png": pictures[3],
        },
    )

    # and the notification is what the contract says, no more and no less
    body = (tmp_path / "archive.zip").read_bytes()
    url, key = notification.json["archive"]["url"], notification.json["archive"]["key"]
    stored = s3.head_object(Bucket=client.stack.archive_bucket, Key=key)
    assert notification.json == {
        "status": "succeeded",
        "metadata": {"key": "value"},
        "substitutions": {"archiver_URL": url},
        "archive": {
            "url": url,
            "bucket": client.stack.archive_bucket,
            "key": key,
            "size": len(body),
            "files": 3,
            "crc32": f"{zlib.crc32(body):08x}",
            "etag": stored["ETag"].strip('"'),
        },
        "missing": [],
        "request_id": request_id,
    }
    assert notification.attributes == {}
    assert re.fullmatch(r"[0-9a-f]{64}/download-\d{4}-\d{2}-\d{2}\.zip", key)

    # and its link is the archive
    with urllib.request.urlopen(url, timeout=30) as answer:
        assert answer.read() == body


def test_three_hundred_files_in_nested_directories(client: StackClient, delivered: Delivered) -> None:
    # given three hundred objects, and a place for each, up to three directories deep
    bodies = {n: noise(500 + n * 37 % 4000, seed=n) for n in range(300)}
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda n: client.put(f"nested/{n}.bin", bodies[n]), bodies))
    directories = ("", "year/", "year/{month}/", "year/{month}/{day}/")
    places = {n: directories[n % 4].format(month=n % 12, day=n % 28) + f"{n:03d}.bin" for n in bodies}

    # when all are asked for
    request_id = client.send(
        {"files": [{"source": f"nested/{n}.bin", "destination": place} for n, place in places.items()]}
    )

    # then each is in its place
    delivered(request_id, {place: bodies[n] for n, place in places.items()})


def test_all_objects_below_a_prefix(client: StackClient, delivered: Delivered) -> None:
    # given a tree of objects, beside one whose key only begins alike
    tree = {"index.html": b"<p>", "css/site.css": b"p {}", "img/big/a b+c.svg": b"<svg/>", "img/empty": b""}
    for path, body in tree.items():
        client.put(f"site/v1/{path}", body)
    client.put("site/v10/other.html", b"not this one")

    # when the prefix is asked for, once as it is and once below a directory
    request_id = client.send({"files": [{"source": "site/v1/"}, {"source": "site/v1/", "destination": "backup/v1.0"}]})

    # then the tree is there twice, with its paths
    delivered(request_id, tree | {f"backup/v1.0/{path}": body for path, body in tree.items()})


def test_the_same_name_three_times(client: StackClient, delivered: Delivered) -> None:
    # given three objects with one base name, and one whose name differs in case alone
    for number in (1, 2, 3):
        client.put(f"camera-{number}/photo.jpg", b"camera %d" % number)
    client.put("camera-4/PHOTO.jpg", b"camera 4")

    # when they are to lie in one directory
    cameras = ("camera-1/photo.jpg", "camera-2/photo.jpg", "camera-3/photo.jpg", "camera-4/PHOTO.jpg")
    request_id = client.send({"files": [{"source": camera, "destination": "all"} for camera in cameras]})

    # then none hides another
    delivered(
        request_id,
        {
            "all/photo.jpg": b"camera 1",
            "all/photo (1).jpg": b"camera 2",
            "all/photo (2).jpg": b"camera 3",
            "all/PHOTO (3).jpg": b"camera 4",
        },
    )


def test_names_in_chinese_arabic_and_emoji(client: StackClient, delivered: Delivered) -> None:
    # given keys far beyond ASCII, one of them with its umlaut in two code points
    bodies = {
        "文件/年度报告.txt": "年度".encode(),
        "ملفات/تقرير سنوي.txt": "تقرير".encode(),
        "🎉/👩‍👩‍👧 family.txt": "🎉".encode(),
        "U\u0308bersicht.txt": b"umlaut",
    }
    for key, body in bodies.items():
        client.put(key, body)

    # when they are asked for, with destinations that are no less so
    request_id = client.send(
        {
            "files": [
                {"source": "文件/年度报告.txt"},
                {"source": "文件/年度报告.txt", "destination": "压缩包/副本.txt"},
                {"source": "ملفات/تقرير سنوي.txt", "destination": "أرشيف"},
                {"source": "🎉/👩‍👩‍👧 family.txt", "destination": "🗂️"},
                {"source": "U\u0308bersicht.txt"},
            ]
        }
    )

    # then every reader spells them as they were, composed
    delivered(
        request_id,
        {
            "年度报告.txt": "年度".encode(),
            "压缩包/副本.txt": "年度".encode(),
            "أرشيف/تقرير سنوي.txt": "تقرير".encode(),
            "🗂️/👩‍👩‍👧 family.txt": "🎉".encode(),
            "Übersicht.txt": b"umlaut",
        },
    )


def test_an_empty_file_and_one_of_seventy_mebibytes(client: StackClient, worker: Worker, delivered: Delivered) -> None:
    # given the two
    large = noise(70 * MIB, seed=70)
    client.put("sizes/empty.txt", b"")
    client.put("sizes/large.bin", large)

    # when they are asked for, the large one between two empty ones
    sources = ("sizes/empty.txt", "sizes/large.bin", "sizes/empty.txt")
    request_id = client.send({"files": [{"source": source} for source in sources]})

    # then they are there
    delivered(request_id, {"empty.txt": b"", "large.bin": sha256(large), "empty (1).txt": b""})

    # and most of the large one never came through the worker
    ready = next(line for line in _lines(worker, request_id) if line["message"] == "archive ready")
    assert ready["bytes_copied"] > 60 * MIB


@pytest.mark.parametrize(
    ("destination", "name"),
    [
        ("../../etc/passwd.txt", "etc/passwd.txt"),
        ("a/../../b.txt", "a/b.txt"),
        ("/etc/cron.d/job.txt", "etc/cron.d/job.txt"),
        ("//server/share/x.txt", "server/share/x.txt"),
        ("C:\\Windows\\system.ini", "Windows/system.ini"),
        ("..\\..\\autoexec.bat", "autoexec.bat"),
        ("dir\\sub\\", "dir/sub/evil.txt"),
        ("a//./b.txt", "a/b.txt"),
        ("CON.txt", "CON_.txt"),
        ('q?<>:"|*.txt', "q_______.txt"),
        ("trailing. /x.txt", "trailing/x.txt"),
        ("line\nbreak\x00.txt", "line_break_.txt"),
    ],
)
def test_a_hostile_destination_alone(client: StackClient, destination: str, name: str, tmp_path: Path) -> None:
    # given an object
    client.put("evil.txt", b"harmless")
    # when somebody wants it out of the folder that the archive will be extracted into
    request_id = client.send({"files": [{"source": "evil.txt", "destination": destination}]})
    # then it stays inside
    with zipfile.ZipFile(client.download(client.notification(request_id), tmp_path)) as archive:
        assert archive.namelist() == [name]


def test_hostile_destinations_together(client: StackClient, delivered: Delivered) -> None:
    # given destinations that all mean the same place
    client.put("evil.txt", b"harmless")
    destinations = ("../up.txt", "/up.txt", "..\\up.txt", "C:\\up.txt", "./up.txt")
    # when they are in one payload
    request_id = client.send(
        {"files": [{"source": "evil.txt", "destination": destination} for destination in destinations]}
    )
    # then each has a name of its own, and every reader extracts it below its folder
    delivered(request_id, dict.fromkeys(("up.txt", *(f"up ({n}).txt" for n in range(1, 5))), b"harmless"))


def test_a_pinned_version(client: StackClient, s3: "S3Client", delivered: Delivered) -> None:
    # given an object that was overwritten, and one that was deleted
    bucket = f"{client.stack.source_bucket}-versioned"
    s3.create_bucket(Bucket=bucket)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    old = s3.put_object(Bucket=bucket, Key="plan v1.txt", Body=b"the old plan")["VersionId"]
    s3.put_object(Bucket=bucket, Key="plan v1.txt", Body=b"the new plan")
    gone = s3.put_object(Bucket=bucket, Key="gone.txt", Body=b"still here")["VersionId"]
    s3.delete_object(Bucket=bucket, Key="gone.txt")

    # when versions are named, and the newest is asked for beside them
    sources = (
        f"s3://{bucket}/plan v1.txt?versionId={old}",
        f"s3://{bucket}/plan v1.txt",
        f"s3://{bucket}/gone.txt?versionId={gone}",
    )
    request_id = client.send({"files": [{"source": source} for source in sources]})

    # then each is the one that was meant
    delivered(
        request_id,
        {"plan v1.txt": b"the old plan", "plan v1 (1).txt": b"the new plan", "gone.txt": b"still here"},
    )


def test_a_missing_source_is_skipped_where_the_payload_says_so(client: StackClient, delivered: Delivered) -> None:
    # given one object of three sources
    client.put("skip/there.txt", b"there")
    # when the payload would rather have an archive than none
    elsewhere = f"s3://{client.stack.source_bucket}/skip/gone.txt"
    sources = ("skip/not-there.txt", "skip/there.txt", elsewhere, "skip/no-such-prefix/")
    request_id = client.send({"files": [{"source": source} for source in sources], "on_missing": "skip"})
    # then it holds what there is, and the notification lists what there is not, as the payload spelled it
    notification = delivered(request_id, {"there.txt": b"there"})
    assert notification.json["missing"] == [source for source in sources if source != "skip/there.txt"]


@pytest.mark.parametrize("on_missing", ["fail", "skip"])
def test_nothing_is_built_without_its_sources(client: StackClient, s3: "S3Client", on_missing: str) -> None:
    # given a payload of which not all, or with `skip` nothing, exists
    there = [{"source": "fail/there.txt"}] if on_missing == "fail" else []
    client.put("fail/there.txt", b"there")
    files = [*there, {"source": "fail/first.txt"}, {"source": "fail/second.txt"}]
    payload = {"files": files, "on_missing": on_missing, "metadata": {"order": 7}}
    before = s3.list_objects_v2(Bucket=client.stack.archive_bucket)["KeyCount"]

    # when it is sent
    request_id = client.send(payload, Correlation_Id="order-7")

    # then the consumer is told, since NOTIFY_FAILURES is set
    message = "2 missing source(s): fail/first.txt, fail/second.txt"
    notification = client.notification(request_id)
    assert notification.json == {
        "status": "failed",
        "metadata": {"order": 7},
        "error": {"code": "missing_sources", "message": message},
        "missing": ["fail/first.txt", "fail/second.txt"],
        "request_id": request_id,
    }
    assert notification.attributes == {"Correlation-Id": "order-7"}

    # and the message lies in the dead-letter queue with the same reason, after one attempt
    [dead] = client.dead_letters(1)
    assert json.loads(dead.body) == payload
    assert dead.attributes == {
        "Error-Code": "missing_sources",
        "Error-Message": message,
        "Original-Message-Id": request_id,
        "Request-Id": request_id,
        "Receive-Count": "1",
        "Attempts": "1",
        "Correlation-Id": "order-7",
    }

    # and no archive came of it
    assert s3.list_objects_v2(Bucket=client.stack.archive_bucket)["KeyCount"] == before


def test_the_name_that_a_browser_saves_under(client: StackClient, delivered: Delivered) -> None:
    # given a file name in two scripts, with quotes
    client.put("named.txt", b"content")
    # when the payload asks for it
    request_id = client.send({"files": [{"source": "named.txt"}], "filename": 'Mamas "Fotos" 相册.zip'})
    notification = delivered(request_id, {"named.txt": b"content"})
    # then the link answers with it, in both of RFC 6266's forms
    with urllib.request.urlopen(notification.json["archive"]["url"], timeout=30) as answer:
        assert answer.headers["Content-Disposition"] == (
            'attachment; filename="Mamas _Fotos_ __.zip"; '
            "filename*=UTF-8''Mamas%20%22Fotos%22%20%E7%9B%B8%E5%86%8C.zip"
        )


def test_metadata_and_correlation_id_are_handed_on_untouched(client: StackClient, worker: Worker) -> None:
    # given metadata with everything that JSON has
    client.put("handed-on.txt", b"content")
    metadata: dict[str, Any] = {
        "nested": {"list": [1, 2.5, -0.0, 1e300, True, None, {"": []}]},
        "large": 2**63 + 1,
        "text": '\u0000\t"\\/\u2028 漢字 😀',
        "__type__": "datetime",
        "archiver_URL": "not ours",
    }
    # when it is sent with a correlation id
    payload = {"files": [{"source": "handed-on.txt"}], "metadata": metadata, "unknown": "key"}
    request_id = client.send(json.dumps(payload), Correlation_Id="Ünïcode / 42")
    # then the consumer gets both as they were, floats that are whole numbers and the order of keys included
    notification = client.notification(request_id)
    assert json.dumps(notification.json["metadata"]) == json.dumps(metadata)
    assert notification.attributes == {"Correlation-Id": "Ünïcode / 42"}

    # and each line of the job carries the ids, and none the metadata
    key = notification.json["archive"]["key"]
    lines = _lines(worker, request_id)
    assert {"job started", "archive ready", "consumer notified", "job done"} <= {line["message"] for line in lines}
    for line in lines:
        assert (line["sqs_message_id"], line["correlation_id"]) == (request_id, "Ünïcode / 42")
        assert "not ours" not in json.dumps(line)
    assert {line["archive_key"] for line in lines if "archive_key" in line} == {key}


def test_compression_of_what_shrinks(client: StackClient, delivered: Delivered, tmp_path: Path) -> None:
    # given text, a table below a prefix, an empty text, noise that calls itself text, and a picture
    bodies = {"a.txt": text(300_000), "table/b.csv": text(12 * MIB), "empty.txt": b""}
    bodies |= {"noise.txt": noise(200_000, seed=5), "picture.jpg": noise(6 * MIB, seed=6)}
    for path, body in bodies.items():
        client.put(f"shrink/{path}", body)

    # when compression is left to the archiver
    request_id = client.send({"files": [{"source": "shrink/"}], "compression": "auto"})

    # then all of it is there, and what shrinks has shrunk
    notification = delivered(request_id, bodies)
    with zipfile.ZipFile(tmp_path / "archive.zip") as archive:
        methods = {entry.filename: entry.compress_type for entry in archive.infolist()}
        sizes = {entry.filename: entry.compress_size for entry in archive.infolist()}
    deflated = {name for name, method in methods.items() if method == zipfile.ZIP_DEFLATED}
    assert deflated == {"a.txt", "table/b.csv"}
    assert all(sizes[name] < len(bodies[name]) / 2 for name in deflated)
    body = (tmp_path / "archive.zip").read_bytes()
    assert notification.json["archive"]["crc32"] == f"{zlib.crc32(body):08x}"


def _lines(worker: Worker, request_id: str) -> list[dict[str, Any]]:
    """The log's lines of one job, once it is done."""
    lines: list[dict[str, Any]] = []

    def done() -> bool:
        # A line that is being written is no JSON yet.
        parsed = [json.loads(line) for line in worker.output().splitlines() if line.startswith("{") and line[-1] == "}"]
        lines[:] = [line for line in parsed if line.get("request_id") == request_id]
        return any(line["message"] == "job done" for line in lines)

    assert eventually(done), lines
    return lines
