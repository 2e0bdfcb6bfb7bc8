"""Text from outside leaves without secrets, without control characters, and not without end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.text import presentable, redacted

SECRET = "5ecre7+/5ecre7="
QUERY = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={0}&X-Amz-Date=20261101T000000Z&X-Amz-Signature={0}&x=1"
URL = "https://bucket.s3.eu-west-1.amazonaws.com/a%20key.jpg?" + QUERY


@pytest.mark.parametrize(
    "text",
    [
        URL,
        f"'{URL}'",
        f"no such source: {URL}, and another",
        URL.replace("X-Amz-Signature", "x-amz-signature"),
        URL.replace("X-Amz-Signature", "X-Amz-Security-Token"),
        URL.replace("X-Amz-Signature", "Signature").replace("X-Amz-Credential", "AWSAccessKeyId"),
        "Policy={0}&Signature={0}&Key-Pair-Id={0}",
        "https://account.blob.core.windows.net/c/b?sv=2026&sig={0}",
        "?X-Goog-Signature={0}&GoogleAccessId={0}",
        URL.replace("?", "%3F").replace("&", "%26").replace("=", "%3D"),
        URL.replace("?", "%253F").replace("&", "%2526").replace("=", "%253D"),
        URL.replace("&", "\\u0026"),
        "AWS4-HMAC-SHA256 Credential={0}, SignedHeaders=host, Signature={0}",
        "https://user:{0}@host/path".replace("{0}", "5ecre7"),
        "https://5ecre7@host/path",
        "no such source: 'https://user:x@5ecre7@host/path'",
        "https://user:x/5ecre7@host/path",
        "https://user@example.com:x/5ecre7@host/path",
        "ftp://user:5ecre7/5ecre7@host",
        "https://host/a?token={0}&x=1",
        "https://host/a#access_token={0}",
        "https://host/a%3Faccess_token%3D{0}",
        'An error occurred (ReceiptHandleIsInvalid): The input receipt handle "{0}" is not a valid receipt handle.',
        "Value {0} for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired.",
    ],
)
def test_secrets_of_urls_and_of_sqs_do_not_leave(text: str) -> None:
    left = redacted(text.replace("{0}", SECRET))
    assert "5ecre7" not in left
    assert "REDACTED" in left
    assert redacted(left) == left


def test_the_rest_of_a_url_stays() -> None:
    assert redacted(URL.replace("{0}", SECRET)) == URL.replace("{0}", "REDACTED")


@pytest.mark.parametrize(
    "text",
    [
        "s3://bucket/path/to/design=5/a.jpg",
        "signature of the contract.pdf",
        "s3://b/my-sig=nature",
        "no-policy=x",
        "user:name@host",
        "s3://bucket/at:12@noon",
        "s3://bucket@2x/a@2x.png",
        "https://host/icon@2x.png",
        "http://localhost:4566/bucket/icon@2x.png",
        "http://localhost:4566?mail=name@host",
        "http://[::1]:4566/bucket/icon@2x.png",
        "s3://bucket/token=5/a.jpg",
        "https://host/a?next_token=5",
        "see https://host/a, and 'name@host'",
        "receipt handle",
    ],
)
def test_what_is_no_secret_is_not_taken_for_one(text: str) -> None:
    assert redacted(text) == text


def test_control_characters_are_replaced() -> None:
    assert presentable("nul \0 bell \a esc \x1b[2J c1 \x9b rtl \u202e lone \ud800 \uffff 🎈") == (
        "nul \ufffd bell \ufffd esc \ufffd[2J c1 \ufffd rtl \ufffd lone \ufffd \ufffd 🎈"
    )
    assert presentable("forged\r\nline\tend") == "forged  line end"
    assert presentable("trace\n\tback\x1b", lines=True) == "trace\n\tback\ufffd"


def test_what_is_long_is_cut_after_its_secret_is_gone() -> None:
    assert presentable("x" * 11, limit=10) == "x" * 9 + "…"
    assert "5ecre7" not in presentable(URL.replace("{0}", SECRET * 1000), limit=300)
    assert len(presentable("x" * 10_000, limit=None)) == 10_000


def test_text_without_end_is_redacted_in_no_time() -> None:
    for piece in ("://a:", "://a", ":", "?token=", "://a:b/@"):
        redacted(piece * 200_000)  # quadratic, it would take hours


@given(st.lists(st.sampled_from(["://", "s3", "a", ":", "@", "/", "80/", "?", "token=", "'", " "])))
def test_redacting_twice_changes_nothing_more(pieces: list[str]) -> None:
    once = redacted("".join(pieces))
    assert redacted(once) == once


@given(st.text(), st.integers(1, 50))
def test_passing_twice_changes_nothing_more(text: str, limit: int) -> None:
    once = presentable(text, limit=limit)
    assert len(once) <= limit
    assert presentable(once, limit=limit) == once
