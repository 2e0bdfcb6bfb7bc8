"""What the members of a crew share, on each server."""

from tests.contract.conftest import Server

FOLDER = "f" * 64


def test_an_object_is_there_as_it_was_written(server: Server) -> None:
    assert server.shared.put(FOLDER, "plan", b"0123456789")

    assert server.shared.get(FOLDER, "plan") == b"0123456789"
    assert server.shared.get(FOLDER, "plan", 2, 5) == b"234"
    assert server.shared.get(FOLDER, "other") is None
    assert server.shared.get(FOLDER, "other", 2, 5) is None


def test_whether_it_is_there_can_be_asked(server: Server) -> None:
    assert not server.shared.has(FOLDER, "00003")

    server.shared.put(FOLDER, "00003", b"", new=True)

    assert server.shared.has(FOLDER, "00003")
    assert not server.shared.has(FOLDER, "0000")


def test_only_one_creates_it_and_anybody_replaces_it(server: Server) -> None:
    assert server.shared.put(FOLDER, "00001", b"", new=True)
    assert not server.shared.put(FOLDER, "00001", b"b", new=True)
    assert server.shared.put(FOLDER, "00001", b"", new=True)  # sent again after a lost answer
    assert server.shared.sizes(FOLDER) == {"00001": 0}

    assert server.shared.put(FOLDER, "00001", b"a record")
    assert server.shared.sizes(FOLDER) == {"00001": 8}


def test_a_folder_is_listed_by_itself_and_to_its_end(server: Server) -> None:
    server.shared.put("0" * 64, "plan", b"x")
    assert server.shared.sizes(FOLDER) == {}
    names = [f"{number:05}" for number in range(1_010)]
    for name in names:
        server.shared.put(FOLDER, name, b"b")

    assert server.shared.sizes(FOLDER) == dict.fromkeys(names, 1)
    server.shared.delete(FOLDER, [*names, "plan"])
    assert server.shared.sizes(FOLDER) == {}
    assert server.shared.sizes("0" * 64) == {"plan": 1}
