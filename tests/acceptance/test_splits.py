"""Several archives in place of one, with a real worker on a real server."""

from pathlib import Path

import pytest

from tests.conftest import StackClient
from tests.support.jobs import noise
from tests.support.oracles import Readers

pytestmark = [pytest.mark.acceptance, pytest.mark.localstack, pytest.mark.usefixtures("worker")]

MIB = 1024 * 1024


def test_three_archives_each_of_which_opens_alone(client: StackClient, readers: Readers, tmp_path: Path) -> None:
    # given objects, one of which is larger than an archive may be
    bodies: dict[str, bytes | str] = {
        "a/1.bin": noise(3 * MIB, seed=1),
        "a/ü.bin": noise(2 * MIB, seed=2),
        "b/large.bin": noise(14 * MIB, seed=3),
        "c/3.txt": b"three",
    }
    for name, body in bodies.items():
        assert isinstance(body, bytes)
        client.put(f"split/{name}", body)

    # when archives of six mebibytes are asked for
    request_id = client.send({"files": [{"source": "split/"}], "split": {"max_bytes": 6 * MIB}})

    # then one notification tells of three, and every reader reads each
    told = client.notification(request_id).json
    assert told["status"] == "succeeded", told
    assert told["archive"] == told["archives"][0]
    names = list(bodies)
    expected = [names[:2], names[2:3], names[3:]]
    assert [archive["files"] for archive in told["archives"]] == [2, 1, 1]
    for number, (archive, inside) in enumerate(zip(told["archives"], expected, strict=True), 1):
        assert archive["key"].endswith(f"-{number}.zip")
        assert archive["size"] <= 6 * MIB or len(inside) == 1
        path = tmp_path / f"{number}.zip"
        client.s3.download_file(archive["bucket"], archive["key"], str(path))
        readers.check(path, {name: bodies[name] for name in inside})
