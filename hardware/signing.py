"""The key that signs firmware images: HSS/LMS (RFC 8554), two levels, 1,024 signatures.

A one-time key of it must never be used twice. So what is left of the private key is on disk before a signature made
with it leaves this module; two processes that sign at once wait for each other.
"""

import fcntl
from pathlib import Path

import pyhsslms

from runtime.files import write_whole

_LEVELS = 2
_LMS, _OTS = pyhsslms.lms_sha256_m32_h5, pyhsslms.lmots_sha256_n32_w4


def make_key(private: Path) -> bytes:
    """Make a private key in this file, readable by its owner; returns the public key. Raises FileExistsError."""
    if private.exists():
        raise FileExistsError(f"{private} is there already; a signing key is not made anew")
    key = pyhsslms.HssPrivateKey(levels=_LEVELS, lms_type=_LMS, lmots_type=_OTS)
    write_whole(private, key.serialize())
    public: bytes = key.publicKey().serialize()
    return public


def sign(private: Path, message: bytes) -> bytes:
    """A signature over the message. Raises OSError, or ValueError if the key is used up or is none."""
    with private.with_suffix(".lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        key = pyhsslms.HssPrivateKey.deserialize(private.read_bytes())
        signature: bytes = key.sign(message)
        write_whole(private, key.serialize())
    return signature


def public_key(private: Path) -> bytes:
    """The public key of a private one."""
    public: bytes = pyhsslms.HssPrivateKey.deserialize(private.read_bytes()).publicKey().serialize()
    return public
