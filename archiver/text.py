"""Text from outside, as it may stand in a log line, a message attribute, a notification or on a terminal.

Whoever writes a payload chooses its names, ids and options. Before such a text leaves the process it passes
``presentable``: no control character forges a line or moves a terminal's cursor, nothing is without end, and a
presigned URL that was given where a source belongs gives its signature to nobody.
"""

import re

#: What stands in place of a secret.
REDACTED = "REDACTED"
#: Longest text without a limit of its own, in characters.
MAX_CHARACTERS = 2_000

# Control characters, what changes the direction of reading, and what SQS refuses in a message
# (API_SendMessage, MessageBody): lone surrogates and the two non-characters.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
_LINE_BREAKS = re.compile(r"[\t\r\n]")

# The parameters of presigned URLs, also where the URL was percent-encoded (once or twice) or JSON-encoded on its way:
# Signature Version 4 and 2 of AWS, CloudFront's, and those of other stores that a producer may mix up with S3.
# Sources: S3 API Reference, Authenticating Requests: Using Query Parameters; CloudFront Developer Guide, signed URLs.
_SECRET = re.compile(
    r"""(?ix)
    (?: (?<![a-z0-9_-]) | (?<=%26) | (?<=%3f) | (?<=%2526) | (?<=%253f) | (?<=u0026) )
    ( (?: x-(?:amz|goog)-)? (?: signature | credential | security-token )
      | awsaccesskeyid | googleaccessid | key-pair-id | policy | sig )
    ( = | %3d | %253d )
    (?: (?! %26 | %2526 | \\u0026 ) [^&\s"'<>,;)}\]] )+
    """
)
# Tokens of other services, in a query or a fragment alone: a key may have a folder `token=5`.
_TOKEN = re.compile(
    r"""(?ix)
    (?: (?<=[?&;\#]) | (?<=%26) | (?<=%3f) | (?<=%2526) | (?<=%253f) | (?<=u0026) )
    ( (?: access_ )? token )
    ( = | %3d | %253d )
    (?: (?! %26 | %2526 | \\u0026 ) [^&\s"'<>,;)}\]] )+
    """
)
# What stands before the host: a name and a password, also one with a slash or an @ in it, or a token alone. What
# looks like a port is one. Behind `s3://` stands a bucket, and its key may have an @.
_USER_INFO = (
    re.compile(r"(?i)(?<=://)(?<!s3://)[^/\s:?#\[]*:(?!\d{1,5}(?:[/?#]|$)|//)(?:(?!://)\S)+(?=@)"),
    re.compile(r"""(?i)(?<=://)(?<!s3://)[^/\s?#"'<>]+(?=@)"""),
    re.compile(r"(?i)(?<=s3://)[^/\s@:]*:[^/\s@]+(?=@)"),
)
# SQS quotes the receipt handle in its errors; with it anybody who may talk to the queue can delete the message.
_RECEIPT_HANDLE = re.compile(
    r"""(?ix) (?<= receipt\ handle\ ") [^"\s]+ | (?<= Value\ ) \S+ (?= \ for\ parameter\ ReceiptHandle )"""
)


def redacted(text: str) -> str:
    """``text`` without the secrets of URLs and of SQS's errors, and otherwise as it is."""
    text = _SECRET.sub(rf"\1\2{REDACTED}", text)
    text = _TOKEN.sub(rf"\1\2{REDACTED}", text)
    for before_host in _USER_INFO:
        text = before_host.sub(REDACTED, text)
    return _RECEIPT_HANDLE.sub(REDACTED, text)


def presentable(text: str, *, limit: int | None = MAX_CHARACTERS, lines: bool = False) -> str:
    """``text`` redacted, its control characters replaced, cut to ``limit`` characters.

    With ``lines`` its line breaks and tabs stay, as a traceback wants it. Passing twice changes nothing more.
    """
    text = _UNPRINTABLE.sub("\ufffd", redacted(text))
    if not lines:
        text = _LINE_BREAKS.sub(" ", text)
    return text if limit is None else cut(text, limit)


def cut(text: str, limit: int) -> str:
    """``text``, or its beginning and an ellipsis where it has more than ``limit`` characters."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
