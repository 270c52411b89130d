"""How a device gets its first config from a technician who has read its label, over a line that belongs to nobody.

The label's QR code carries the device's id and a secret of 128 random bits. Both sides prove that they know it, then
speak encrypted by keys that hold for this one session:

    technician  HELLO      version, nonce
    device      CHALLENGE  nonce, device id
    technician  PROOF      HMAC-SHA-256 of what both have said, with the technician's proof key
    device      ANSWER     the same with the device's proof key
    both        SEALED     AES-128-CTR, then HMAC-SHA-256 (16 bytes of it), in turn: a request, its result

    keys = HKDF(secret, salt = both nonces, info = "kerb provisioning", version, SHA-256 of HELLO and CHALLENGE)

Each direction has a key for each purpose, and a counter of its messages, which is not sent: what is changed, repeated,
left out, put in another order or sent back to its author does not check, and ends the session. The technician proves
first, and the device counts each attempt before it answers. A secret that no one can guess needs no password-
authenticated key exchange; who learns it later can read what was recorded before (see docs/security.md).

`Technician` and `Device` are the two ends, without I/O and clock; a message is carried by one of the `framing`s.
"""

from .device import CLOSED, REQUEST, SAVE, SEND, Device
from .framing import Lines, Values
from .sealed import SECRET_BYTES
from .technician import Technician
from .wire import MOST_BODY, NONCE_BYTES, VERSION

__all__ = [
    "CLOSED",
    "MOST_BODY",
    "NONCE_BYTES",
    "REQUEST",
    "SAVE",
    "SECRET_BYTES",
    "SEND",
    "VERSION",
    "Device",
    "Lines",
    "Technician",
    "Values",
]
