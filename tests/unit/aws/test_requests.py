"""What is asked of objects: one request each, and a reason for each refusal."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from archiver.archive.location import Location
from archiver.aws.exchange import Answer, HttpRequest
from archiver.aws.failures import Refused
from archiver.aws.requests import ObjectRequests

HERE = Location("b", "k")
FOUND = Answer({"content-length": "1"}, b"x")


@dataclass
class Http:
    """Answers with what it is given, in turn; a refusal is raised."""

    answers: list[Answer | Refused]
    asked: list[HttpRequest] = field(default_factory=list)

    def send(self, request: HttpRequest) -> Answer:
        self.asked.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Refused):
            raise answer
        return answer


def given(*answers: Answer | Refused) -> tuple[ObjectRequests, Http]:
    http: Any = Http(list(answers))
    return ObjectRequests(http), http


def test_a_look_asks_for_the_checksum_and_for_the_version() -> None:
    requests, http = given(FOUND, FOUND)

    requests.head(Location("b", "k", "v1"))
    requests.get(HERE, most=10)

    head, get = http.asked
    assert (head.method, head.query, head.headers) == ("HEAD", {"versionId": "v1"}, {"x-amz-checksum-mode": "ENABLED"})
    assert (get.method, get.query, get.most) == ("GET", {}, 10)


@pytest.mark.parametrize(("status", "code"), [(404, "NoSuchKey"), (403, "AccessDenied")])
def test_a_head_without_a_reason_is_explained_once_a_bucket(status: int, code: str) -> None:
    requests, http = given(Refused(status), Refused(status, code), *[Refused(status)] * 9)

    for _ in range(10):
        with pytest.raises(Refused) as refused:
            requests.head(HERE)
        assert refused.value.code == code

    assert len(http.asked) == 11


def test_a_head_that_is_refused_where_a_get_is_not_is_neither_missing_nor_denied() -> None:
    requests, http = given(Refused(403), FOUND, Refused(403))

    with pytest.raises(Refused, match="can be read, but not looked at"):
        requests.head(HERE)
    assert (http.asked[1].first, http.asked[1].last) == (0, 0)


def test_a_head_that_was_refused_for_a_moment_is_asked_once_more() -> None:
    requests, http = given(Refused(403), FOUND, FOUND)

    assert requests.head(HERE) is FOUND
    assert [request.method for request in http.asked] == ["HEAD", "GET", "HEAD"]


def test_an_empty_object_explains_no_refusal() -> None:
    requests, _ = given(Refused(403), Refused(416, "InvalidRange"), Refused(403))

    with pytest.raises(Refused, match="can be read, but not looked at"):
        requests.head(HERE)


def test_a_bucket_that_answers_missing_does_not_call_it_denied() -> None:
    requests, _ = given(Refused(404, "NoSuchKey"))
    assert requests.denies_what_is_missing("b")

    with pytest.raises(Refused):
        requests.get(HERE, most=1)

    assert not requests.denies_what_is_missing("b")
    assert requests.denies_what_is_missing("other")


def test_so_does_a_bucket_that_can_be_listed() -> None:
    requests, http = given(Refused(404))
    requests.listed("b")

    with pytest.raises(Refused) as refused:
        requests.head(HERE)

    assert refused.value.code == "NoSuchKey"
    assert len(http.asked) == 1
