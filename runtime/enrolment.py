"""What a gateway and a hub must agree on to enrol by a one-time token over a line that anybody may read and change.

The token carries a secret of 160 bits and the fingerprint of the hub's CA. The secret is never sent: it makes the
proofs (HMAC-SHA-256, RFC 2104) of the request and of the answer.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from dataclasses import dataclass, field

_PREFIX = "kerb1"
_ID = 5
_SECRET = 20
_FINGERPRINT = 32
_CHECK = 3  # so that a token of which a letter is missing is told from one that the hub does not know

PATH = "/api/v1/enrol"
MAX_BYTES = 16_384  # of a request, and of an answer


class TokenError(Exception):
    """A text that is no token: `reason` says why."""

    def __init__(self, reason: str):
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Token:
    """Its id (hex), its secret, and the SHA-256 of the CA's certificate (DER)."""

    id: str
    secret: bytes = field(repr=False)
    fingerprint: bytes

    @classmethod
    def make(cls, fingerprint: bytes) -> "Token":
        """A new one."""
        return cls(secrets.token_hex(_ID), secrets.token_bytes(_SECRET), fingerprint)

    def __str__(self) -> str:
        """Lower-case letters and digits only: a double click takes all of it, and no shell minds it."""
        content = bytes.fromhex(self.id) + self.secret + self.fingerprint
        return _PREFIX + base64.b32encode(content + _check(content)).decode().rstrip("=").lower()

    @classmethod
    def parse(cls, text: str) -> "Token":
        """The token of a text, however it was wrapped when it was copied. Raises TokenError."""
        word = "".join(text.split()).lower()
        if not word.startswith(_PREFIX):
            raise TokenError(f"the token must begin with {_PREFIX}; copy all of the line that `hub enrol` has printed")
        try:
            # 60 bytes are 96 letters: nothing to pad
            content = base64.b32decode(word[len(_PREFIX) :].upper())
        except binascii.Error:
            content = b""
        if len(content) != _ID + _SECRET + _FINGERPRINT + _CHECK or _check(content[:-_CHECK]) != content[-_CHECK:]:
            raise TokenError("the token is not whole; copy all of the line that `hub enrol` has printed")
        return cls(content[:_ID].hex(), content[_ID : _ID + _SECRET], content[_ID + _SECRET : -_CHECK])


def request_proof(secret: bytes, csr: bytes) -> str:
    """What shows the hub that the holder of the token has made this certificate signing request."""
    return hmac.new(secret, csr, hashlib.sha256).hexdigest()


def answer_proof(secret: bytes, certificate: bytes, ca: bytes) -> str:
    """What shows the gateway that the hub which made the token has made this answer."""
    # Hashes of fixed length: no part can be moved from one certificate to the other, and no answer is a request.
    content = b"answer" + hashlib.sha256(certificate).digest() + hashlib.sha256(ca).digest()
    return hmac.new(secret, content, hashlib.sha256).hexdigest()


def same(one: str, other: str) -> bool:
    """Whether two proofs are equal, without telling by the time it takes where they differ."""
    return hmac.compare_digest(one.encode(), other.encode())


def _check(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()[:_CHECK]
