"""Jobs that are disturbed on the in-memory S3: what they archive, and what happens to them."""

from tests.support.fake_s3 import MIB, Action, Call, Checksum, FakeS3
from tests.support.jobs import (
    SOURCES,
    noise,
)


class Killed(Exception):
    """The worker process died here: nothing of ours handles it."""


def kill(_: Call) -> None:
    raise Killed


def raising(error: Exception) -> Action:
    def action(_: Call) -> None:
        raise error

    return action


def three_photos(s3: FakeS3, *, checksum: Checksum = "full") -> dict[str, bytes]:
    """Together more than one part; each large enough for S3 to copy from."""
    contents = {f"photos/{n}.jpg": noise((11 + n) * MIB + n, seed=n) for n in range(3)}
    for key, content in contents.items():
        s3.put_object(SOURCES, key, content, checksum=checksum)
    return contents


def by_base_name(contents: dict[str, bytes]) -> dict[str, bytes]:
    return {key.rpartition("/")[2]: content for key, content in contents.items()}
