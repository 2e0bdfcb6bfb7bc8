"""Rules decide which requests a fault strikes; operations are named by what a request's head tells."""

from urllib.parse import parse_qsl

import pytest

from devtools.faults import INTERNAL_ERROR, SLOW_DOWN, Fault, Request, Rule, at_random, first_of, on, where
from devtools.operations import operation_of


def request(operation: str, number: int = 1) -> Request:
    return Request(method="PUT", path="/b/k", query={}, headers={}, operation=operation, number=number)


@pytest.mark.parametrize(
    ("rule", "struck"),
    [
        (on("UploadPart", INTERNAL_ERROR), [1, 2, 3, 4]),
        (on("UploadPart", INTERNAL_ERROR, skip=1, times=2), [2, 3]),
        (on("PutObject", INTERNAL_ERROR), []),
        (where(lambda it: it.number % 2 == 0, INTERNAL_ERROR), [2, 4]),
        (where(lambda it: it.number % 2 == 0, INTERNAL_ERROR, times=1), [2]),
        (first_of(on("UploadPart", INTERNAL_ERROR, times=1), on("UploadPart", SLOW_DOWN, skip=3)), [1, 4]),
        (at_random(1, seed=1, operation="GetObject"), []),
    ],
)
def test_a_rule_strikes_by_operation_and_number(rule: Rule, struck: list[int]) -> None:
    assert [n for n in range(1, 5) if rule(request("UploadPart", n))] == struck


def test_chance_repeats_itself_with_its_seed() -> None:
    def play(seed: int) -> list[Fault | None]:
        rule = at_random(0.2, seed=seed)
        return [rule(request("GetObject")) for _ in range(1000)]

    assert play(1) == play(1) != play(2)
    assert 150 < sum(fault is not None for fault in play(1)) < 250


@pytest.mark.parametrize(
    ("line", "header", "operation"),
    [
        ("GET /b/a/k?versionId=1", "", "GetObject"),
        ("GET /b/k?attributes", "", "GetObjectAttributes"),
        ("GET /b/k?uploadId=u&max-parts=9", "", "ListParts"),
        ("HEAD /b/k", "", "HeadObject"),
        ("PUT /b/k", "", "PutObject"),
        ("PUT /b/k", "x-amz-copy-source", "CopyObject"),
        ("PUT /b/k?partNumber=1&uploadId=u", "", "UploadPart"),
        ("PUT /b/k?partNumber=1&uploadId=u", "x-amz-copy-source", "UploadPartCopy"),
        ("POST /b/k?uploads", "", "CreateMultipartUpload"),
        ("POST /b/k?uploadId=u", "", "CompleteMultipartUpload"),
        ("DELETE /b/k?uploadId=u", "", "AbortMultipartUpload"),
        ("DELETE /b/k", "", "DeleteObject"),
        ("PUT /b/k?tagging", "", "PUT ?tagging"),
        ("GET /b?list-type=2&prefix=p", "", "ListObjectsV2"),
        ("GET /b/?uploads", "", "ListMultipartUploads"),
        ("GET /b", "", "ListObjects"),
        ("HEAD /b", "", "HeadBucket"),
        ("POST /b?delete", "", "DeleteObjects"),
        ("PUT /b?lifecycle", "", "PUT ?lifecycle"),
        ("GET /", "", "ListBuckets"),
        ("POST /", "x-amz-target", "ReceiveMessage"),
        ("POST /", "", "POST /"),
    ],
)
def test_operations_are_named_as_boto3_names_them(line: str, header: str, operation: str) -> None:
    method, target = line.split(" ")
    path, _, query = target.partition("?")
    headers = {header: "AmazonSQS.ReceiveMessage"} if header else {}
    assert (
        operation_of(method, path, query=dict(parse_qsl(query, keep_blank_values=True)), headers=headers) == operation
    )
