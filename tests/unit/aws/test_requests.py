"""A GET or HEAD: which refusals end it, which are asked again, and after what pause."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from botocore.exceptions import ClientError

from archiver.archive.location import Location
from archiver.aws.failures import Refused
from archiver.aws.lean import Answer
from archiver.aws.requests import BACK_OFF, ObjectRequests
from archiver.aws.throttle import Throttle

HERE = Location("b", "k")


@dataclass
class Lean:
    """Answers with what it is given, in turn; a refusal is raised."""

    answers: list[Any]
    asked: int = 0

    def send(self, method: str, location: Location, headers: Mapping[str, str]) -> Answer | None:
        self.asked += 1
        answer = self.answers.pop(0)
        if isinstance(answer, Refused):
            raise answer
        return answer  # type: ignore[no-any-return]  # an answer or None

    @contextmanager
    def learning(self, location: Location) -> Iterator[None]:
        yield


@dataclass
class Boto:
    """A client that finds every object; it counts how often it is asked."""

    refuses: ClientError | None = None
    asked: list[str] = field(default_factory=list)

    def get_object(self, **_: Any) -> dict[str, Any]:
        return self._answer("GET")

    def head_object(self, **_: Any) -> dict[str, Any]:
        return self._answer("HEAD")

    def _answer(self, method: str) -> dict[str, Any]:
        self.asked.append(method)
        if self.refuses:
            raise self.refuses
        return {"ResponseMetadata": {"HTTPHeaders": {"content-length": "1"}}, "Body": Closable()}


class Closable:
    def close(self) -> None:
        pass


@dataclass
class Desk:
    """Requests of one job, and the pauses between them."""

    lean: Lean
    boto: Boto
    throttle: Throttle
    pauses: list[float]
    requests: ObjectRequests


def desk(*answers: Any, boto: Boto | None = None) -> Desk:
    lean, client, throttle, pauses = Lean(list(answers)), boto or Boto(), Throttle(8), list[float]()
    anything: Any = (client, lean)
    requests = ObjectRequests(anything[0], throttle=throttle, lean=anything[1], sleep=pauses.append)
    return Desk(lean, client, throttle, pauses, requests)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (404, "NoSuchKey"),
        (403, "AccessDenied"),
        (403, "InvalidObjectState"),
        (403, "InvalidAccessKeyId"),
        (412, "PreconditionFailed"),
        (416, "InvalidRange"),
        (400, "InvalidRequest"),
    ],
)
def test_a_refusal_that_would_be_the_same_is_not_asked_for_again(status: int, code: str) -> None:
    given = desk(Refused(status, code))

    with pytest.raises(Refused) as refused:
        given.requests.get(HERE, {})

    assert refused.value.code == code
    assert (given.lean.asked, given.boto.asked, given.pauses) == (1, [], [])


@pytest.mark.parametrize(("status", "narrower"), [(503, True), (429, True), (500, False)])
def test_a_busy_server_is_asked_again_after_a_pause(status: int, narrower: bool) -> None:
    given = desk(Refused(status, "Busy"))

    given.requests.get(HERE, {})

    assert given.boto.asked == ["GET"]
    (pause,) = given.pauses
    assert BACK_OFF[0] <= pause <= BACK_OFF[1]
    assert (given.throttle.width < 8) == narrower


@pytest.mark.parametrize("refused", [Refused(301), Refused(400), Refused(400, "AuthorizationHeaderMalformed"), None])
def test_what_boto_knows_better_is_asked_again_at_once(refused: Refused | None) -> None:
    given = desk(refused)

    given.requests.head(HERE)

    assert (given.boto.asked, given.pauses) == (["HEAD"], [])


@pytest.mark.parametrize(("status", "code"), [(404, "NoSuchKey"), (403, "AccessDenied")])
def test_a_head_without_a_reason_is_explained_once_a_bucket(status: int, code: str) -> None:
    given = desk(*[Refused(status), Refused(status, code), *[Refused(status)] * 9])

    for _ in range(10):
        with pytest.raises(Refused) as refused:
            given.requests.head(HERE)
        assert refused.value.code == code

    assert given.lean.asked == 11


def test_a_head_that_is_refused_where_a_get_is_not_is_neither_missing_nor_denied() -> None:
    given = desk(Refused(403), None)

    with pytest.raises(Refused, match="can be read, but not looked at"):
        given.requests.head(HERE)


def test_an_object_that_boto_finds_missing_is_missing() -> None:
    error: Any = {"Error": {"Code": "NoSuchKey", "Message": "m"}, "ResponseMetadata": {"HTTPStatusCode": 404}}
    given = desk(None, boto=Boto(ClientError(error, "GetObject")))

    with pytest.raises(Refused, match="NoSuchKey: m"):
        given.requests.get(HERE, {})

    assert not given.requests.denies_what_is_missing("b")
