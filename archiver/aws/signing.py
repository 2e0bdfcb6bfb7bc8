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
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from botocore.credentials import Credentials

#: The SHA-256 of nothing, for requests without a body.
EMPTY = hashlib.sha256(b"").hexdigest()
#: In place of the body's SHA-256: the CRC32 in another header, which is signed, guards the body.
UNSIGNED = "UNSIGNED-PAYLOAD"

_ALGORITHM = "AWS4-HMAC-SHA256"
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

    def signed(
        self, method: str, *, host: str, path: str, query: str, headers: Mapping[str, str], body_hash: str = EMPTY
    ) -> list[str]:
        """All headers of the request as lines, the signature with them.

        ``path`` and ``query`` are encoded as they are sent; ``headers`` have names in lower case, and all of them are
        signed.
        """
        frozen = self._credentials.get_frozen_credentials()
        stamp = _stamp(int(self._clock()))
        signed = {"host": host, "x-amz-content-sha256": body_hash, "x-amz-date": stamp, **headers}
        if frozen.token:
            signed["x-amz-security-token"] = frozen.token
        names = sorted(signed)
        listed = ";".join(names)
        canonical = "\n".join(
            [method, path, query, *[f"{name}:{signed[name]}" for name in names], "", listed, body_hash]
        )
        scope = f"{stamp[:8]}/{self._region}/s3/aws4_request"
        text = f"{_ALGORITHM}\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        signature = hmac.digest(_key(frozen.secret_key, stamp[:8], self._region), text.encode(), "sha256").hex()
        del signed["host"]  # the HTTP client's own, from the URL
        lines = [f"{name}: {value}" for name, value in signed.items()]
        lines.append(
            f"authorization: {_ALGORITHM} Credential={frozen.access_key}/{scope}, "
            f"SignedHeaders={listed}, Signature={signature}"
        )
        return lines


@lru_cache(maxsize=8)
def _stamp(seconds: int) -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(seconds))


@lru_cache(maxsize=8)
def _key(secret: str, date: str, region: str) -> bytes:
    """The signing key, which lasts a day."""
    key = f"AWS4{secret}".encode()
    for part in (date, region, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key
