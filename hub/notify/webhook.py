"""Telling a program: an HTTPS POST, signed as in Standard Webhooks 1.0.0 (https://www.standardwebhooks.com).

The signature is HMAC-SHA-256 over "ID.TIMESTAMP.BODY". The id is the notice's key, the same whenever it is sent; the
timestamp is that of the attempt. Redirects are not followed, proxies of the environment are not used, and of the answer
nothing but the status is read: what a URL leads to within the operator's network is told to nobody.
"""

import base64
import binascii
import hashlib
import hmac
import ssl

import httpx

from hub.notify.errors import DeliveryError

_PREFIX = "whsec_"
_MIN_SECRET = 24  # bytes, as the standard has it


def secret_key(secret: str) -> bytes:
    """The key of a secret such as whsec_BASE64. Raises DeliveryError."""
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        raise DeliveryError(f"the webhook's secret is not {_PREFIX} and then base64") from None
    if len(key) < _MIN_SECRET:
        raise DeliveryError(f"the webhook's secret has fewer than {_MIN_SECRET} bytes")
    return key


def sign(key: bytes, notice: str, time_s: int, body: bytes) -> str:
    """The header webhook-signature."""
    digest = hmac.digest(key, f"{notice}.{time_s}.".encode() + body, hashlib.sha256)
    return f"v1,{base64.b64encode(digest).decode()}"


async def post(url: str, notice: str, body: bytes, *, secret: str, time_s: int, tls: ssl.SSLContext) -> None:
    """Have it taken. Raises DeliveryError. The caller sets a limit to the time."""
    headers = {
        "content-type": "application/json",
        "user-agent": "kerb",
        "webhook-id": notice,
        "webhook-timestamp": str(time_s),
        "webhook-signature": sign(secret_key(secret), notice, time_s, body),
    }
    try:
        async with (
            httpx.AsyncClient(verify=tls, follow_redirects=False, trust_env=False, timeout=None) as client,
            client.stream("POST", url, content=body, headers=headers) as answer,
        ):
            status = answer.status_code
    except httpx.InvalidURL as error:
        raise DeliveryError(f"the URL cannot be used: {error}") from error
    except httpx.HTTPError as error:
        raise DeliveryError(f"no answer: {error or type(error).__name__}") from error
    if 300 <= status < 400:
        raise DeliveryError(f"answered {status}: redirects are not followed; set the URL that it leads to")
    if not 200 <= status < 300:
        raise DeliveryError(f"answered {status}", final=status == httpx.codes.GONE)
