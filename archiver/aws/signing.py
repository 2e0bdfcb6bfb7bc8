"""Signature Version 4 of requests to S3, in the header Authorization.

https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html

botocore's signer takes more time than all the rest of a small request, and libcurl's own rewrites paths such as
``a/../b``, which are keys like any other.
"""

import hashlib
import hmac
import re
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from operator import itemgetter
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from botocore.credentials import Credentials, ReadOnlyCredentials

#: The SHA-256 of nothing, for requests without a body.
EMPTY = hashlib.sha256(b"").hexdigest()
#: In place of the body's SHA-256: the CRC32 in another header, which is signed, guards the body.
UNSIGNED = "UNSIGNED-PAYLOAD"

_ALGORITHM = "AWS4-HMAC-SHA256"
#: Bytes that SHA-256 takes at a time, and what HMAC makes of each byte of a key of so many.
_BLOCK = 64
_INNER, _OUTER = (bytes(byte ^ pad for byte in range(256)) for pad in (0x36, 0x5C))
#: Keys that encoding would leave as they are, as most do.
_PLAIN = re.compile(r"[A-Za-z0-9/_.~-]*")


def encoded_path(key: str) -> str:
    """A key as the path of a URL has it, percent-encoded once, without its first slash."""
    return key if _PLAIN.fullmatch(key) else quote(key, safe="/~")


def encoded_query(parameters: Mapping[str, str]) -> str:
    """A query in its canonical form: encoded, and in the order of the encoded names."""
    if not parameters:
        return ""
    return "&".join(
        f"{name}={value}"
        for name, value in sorted((quote(name, safe="~"), quote(value, safe="~")) for name, value in parameters.items())
    )


class Signer:
    """Signs requests to one region. ``clock`` gives seconds since the epoch, as S3's clock does."""

    def __init__(self, credentials: "Credentials", *, region: str, clock: Callable[[], float] = time.time) -> None:
        self._credentials = credentials
        self._region = region
        self._clock = clock

    def now(self) -> "Signing":
        """What signs requests that are sent now."""
        credentials, stamp = self._credentials.get_frozen_credentials(), _stamp(int(self._clock()))
        return Signing(credentials, region=self._region, stamp=stamp)


class Signing:
    """Signs requests of one moment: what they have in common is made once. ``stamp`` is the moment as S3 writes it."""

    __slots__ = ("_authorization", "_common", "_inner", "_outer", "_text")

    def __init__(self, credentials: "ReadOnlyCredentials", *, region: str, stamp: str) -> None:
        date = stamp[:8]
        scope = f"{date}/{region}/s3/aws4_request"
        self._common = {"x-amz-date": stamp}
        if credentials.token:
            self._common["x-amz-security-token"] = credentials.token
        self._text = f"{_ALGORITHM}\n{stamp}\n{scope}\n"
        self._authorization = f"authorization: {_ALGORITHM} Credential={credentials.access_key}/{scope}, SignedHeaders="
        self._inner, self._outer = _key(credentials.secret_key, date, region)

    def signed(
        self, method: str, *, host: str, path: str, query: str, headers: Mapping[str, str], body_hash: str = EMPTY
    ) -> list[str]:
        """All headers of the request as lines, the signature with them.

        ``path`` and ``query`` are encoded as they are sent; ``headers`` have names in lower case, and all of them are
        signed. The lines are libcurl's: a semicolon stands for a value that is empty.
        """
        signed = {"host": host, "x-amz-content-sha256": body_hash, **self._common, **headers}
        in_order, form, listed = _in_order(tuple(signed))
        fields = form % in_order(signed)
        if "  " in fields or "\t" in fields:
            fields = form % in_order({name: " ".join(value.split()) for name, value in signed.items()})
        canonical = f"{method}\n{path}\n{query}\n{fields}\n{listed}\n{body_hash}"
        signature = self._hmac(self._text + hashlib.sha256(canonical.encode()).hexdigest())
        del signed["host"]  # the HTTP client's own, from the URL
        lines = [f"{name}: {value}" if value else f"{name};" for name, value in signed.items()]
        lines.append(f"{self._authorization}{listed}, Signature={signature}")
        return lines

    def _hmac(self, text: str) -> str:
        # hmac.digest sets up both hashes anew for each text, which takes three times as long.
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(text.encode())
        outer.update(inner.digest())
        return outer.hexdigest()


@lru_cache(maxsize=64)
def _in_order(names: tuple[str, ...]) -> tuple[Callable[[Mapping[str, str]], tuple[str, ...]], str, str]:
    """What takes the values of these names in the order in which they are signed, their form, and the names' list."""
    ordered = sorted(names)
    return itemgetter(*ordered), "".join([f"{name}:%s\n" for name in ordered]), ";".join(ordered)


@lru_cache(maxsize=8)
def _stamp(seconds: int) -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(seconds))


@lru_cache(maxsize=8)
def _key(secret: str, date: str, region: str) -> tuple["hashlib._Hash", "hashlib._Hash"]:
    """The signing key, which lasts a day, as HMAC's two hashes that have taken it in.

    https://www.rfc-editor.org/rfc/rfc2104#section-4
    """
    key = f"AWS4{secret}".encode()
    for part in (date, region, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    block = key.ljust(_BLOCK, b"\0")
    return hashlib.sha256(block.translate(_INNER)), hashlib.sha256(block.translate(_OUTER))
