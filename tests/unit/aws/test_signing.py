"""A request signed here has the signature that botocore gives it."""

import calendar
import time

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from archiver.aws.signing import EMPTY, UNSIGNED, Signer, encoded_path, encoded_query

STAMP = "20261126T040000Z"
NOW = calendar.timegm(time.strptime(STAMP, "%Y%m%dT%H%M%SZ"))
HOST = "bucket.s3.eu-west-1.amazonaws.com"

keys = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)


def signed_here(method: str, key: str, query: dict[str, str], headers: dict[str, str], token: str | None) -> str:
    signer = Signer(Credentials("AKID", "sec/ret", token), region="eu-west-1", clock=lambda: NOW)
    path = f"/{encoded_path(key)}"
    lines = signer.now().signed(method, host=HOST, path=path, query=encoded_query(query), headers=headers)
    return next(line.removeprefix("authorization: ") for line in lines if line.startswith("authorization"))


def signed_by_botocore(method: str, key: str, query: dict[str, str], headers: dict[str, str], token: str | None) -> str:
    target = f"https://{HOST}/{encoded_path(key)}" + (f"?{encoded_query(query)}" if query else "")
    signed = headers | {"X-Amz-Date": STAMP, "X-Amz-Content-SHA256": EMPTY}
    request = AWSRequest(method, target, headers=signed | ({"X-Amz-Security-Token": token} if token else {}))
    request.context["timestamp"] = STAMP
    auth = S3SigV4Auth(Credentials("AKID", "sec/ret", token), "s3", "eu-west-1")
    text = auth.string_to_sign(request, auth.canonical_request(request))
    names = auth.signed_headers(auth.headers_to_sign(request))
    return (
        f"AWS4-HMAC-SHA256 Credential={auth.scope(request)}, SignedHeaders={names}, "
        f"Signature={auth.signature(text, request)}"
    )


@given(key=keys, version=st.none() | keys, token=st.none() | st.just("a/token+of=some"))
def test_any_key_and_version_is_signed_as_botocore_does(key: str, version: str | None, token: str | None) -> None:
    query = {} if version is None else {"versionId": version}
    headers = {"if-match": '"abc"', "range": "bytes=0-9", "x-amz-checksum-mode": "ENABLED"}
    assert signed_here("GET", key, query, headers, token) == signed_by_botocore("GET", key, query, headers, token)


@given(prefix=st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_a_listings_query_is_signed_in_canonical_order(prefix: str) -> None:
    query = {"prefix": prefix, "list-type": "2", "start-after": "a b/ü", "encoding-type": "url"}
    assert signed_here("GET", "", query, {}, None) == signed_by_botocore("GET", "", query, {}, None)


@pytest.mark.parametrize("key", ["a//b/../c/./d", "~tilde", "%25", "a+b c&d=e?f#g", "ünïcode/文件"])
def test_paths_stay_the_keys_that_they_are(key: str) -> None:
    assert signed_here("HEAD", key, {}, {}, None) == signed_by_botocore("HEAD", key, {}, {}, None)


def test_the_bodys_hash_and_the_token_are_sent_and_the_host_is_the_http_clients() -> None:
    signer = Signer(Credentials("AKID", "secret", "token"), region="us-east-1", clock=lambda: NOW)
    lines = signer.now().signed("PUT", host=HOST, path="/k", query="", headers={}, body_hash=UNSIGNED)
    names = [line.partition(":")[0] for line in lines]
    assert names == ["x-amz-content-sha256", "x-amz-date", "x-amz-security-token", "authorization"]
    assert f"x-amz-content-sha256: {UNSIGNED}" in lines


def test_credentials_that_rotate_are_asked_for_each_moment() -> None:
    class Rotating(Credentials):
        number = 0

        def get_frozen_credentials(self):  # type: ignore[no-untyped-def]  # botocore's type is a named tuple
            self.number += 1
            return Credentials(f"AKID{self.number}", "secret").get_frozen_credentials()

    signer = Signer(Rotating("x", "y"), region="us-east-1", clock=lambda: NOW)
    for number in (1, 2):
        lines = signer.now().signed("GET", host=HOST, path="/k", query="", headers={})
        assert f"Credential=AKID{number}/" in lines[-1]


@given(value=st.from_regex(r"([!-~]([ \t!-~]*[!-~])?)?", fullmatch=True))
def test_any_header_is_signed_as_botocore_does_and_sent_by_libcurl_as_it_is(value: str) -> None:
    headers = {"content-disposition": value, "x-amz-meta-name": value}
    assert signed_here("PUT", "k", {}, headers, None) == signed_by_botocore("PUT", "k", {}, headers, None)

    signer = Signer(Credentials("AKID", "secret"), region="eu-west-1", clock=lambda: NOW)
    lines = signer.now().signed("PUT", host=HOST, path="/k", query="", headers=headers)
    # which would leave a header out whose line ends with its colon
    assert (f"x-amz-meta-name: {value}" if value else "x-amz-meta-name;") in lines
