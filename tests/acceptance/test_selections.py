"""Some of what lies below a prefix, and a list of what is missing, with a real worker on a real server."""

import pytest

from tests.acceptance.conftest import Delivered
from tests.conftest import StackClient

pytestmark = [pytest.mark.acceptance, pytest.mark.localstack, pytest.mark.usefixtures("worker")]


def test_some_of_what_lies_below_a_prefix(client: StackClient, delivered: Delivered) -> None:
    # given pictures among other files
    for path in ("a.jpg", "a.raw", "2026/b.jpg", "2026/thumbnails/b.jpg"):
        client.put(f"selected/{path}", path.encode())

    # when the pictures are asked for, but not their thumbnails
    selection = {"include": ["**/*.jpg"], "exclude": ["**/thumbnails/**"]}
    request_id = client.send({"files": [{"source": "selected/"} | selection]})

    # then there is nothing else
    delivered(request_id, {"a.jpg": b"a.jpg", "2026/b.jpg": b"2026/b.jpg"})


def test_a_list_of_what_is_missing(client: StackClient, delivered: Delivered) -> None:
    # given one of three sources
    client.put("there.txt", b"here")
    sources = ("there.txt", "gone/ü.txt", "nothing-below/")

    # when what is missing is to be listed
    request_id = client.send({"files": [{"source": source} for source in sources], "on_missing": "list"})

    # then the archive has the list, and so has the notification
    listed = "gone/ü.txt\nnothing-below/\n".encode()
    told = delivered(request_id, {"there.txt": b"here", "MISSING.txt": listed})
    assert told.json["missing"] == ["gone/ü.txt", "nothing-below/"]
