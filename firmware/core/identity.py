"""Who the device is to its gateway: a key that is made here and never leaves, and what the gateway gives for it.

Two files in the device's storage: `key.der`, from when it is first asked for; and `admission.json`, what
`kerb edge admit` prints for that key: {"certificate": hex, "ca": hex}, both DER, in one file so that they are replaced
together. There is no way to connect without them.
"""

import binascii
import hashlib
import json
import ssl

from firmware.core import files
from firmware.errors import ConfigError

_KEY, _ADMISSION = "/key.der", "/admission.json"
_CLIENT_ID_BYTES = 12


def public_key(directory: str) -> bytes:
    """The device's public key, an uncompressed point of P-256; the pair is made if there is none yet."""
    from firmware.core import p256  # noqa: PLC0415 - some 4 kB that are needed once in the device's life

    key = files.read(directory + _KEY)
    if key is None:
        key = p256.new_key()
        files.write(directory + _KEY, key)
    return p256.point_of(key)


def admit(directory: str, certificate: bytes, ca: bytes) -> None:
    """Keep what a gateway has given for our key, in DER, in place of what another one gave before."""
    admission = {"certificate": binascii.hexlify(certificate).decode(), "ca": binascii.hexlify(ca).decode()}
    files.write(directory + _ADMISSION, json.dumps(admission).encode())


def client_id(directory: str) -> str:
    """Its name at the broker, which nobody else can know: a client of the same name would throw it out."""
    return binascii.hexlify(hashlib.sha256(_file(directory, _KEY)).digest()[:_CLIENT_ID_BYTES]).decode()


def tls(directory: str) -> "ssl.SSLContext":
    """TLS to the gateway, both sides with certificates. Raises ConfigError if a file is missing or damaged."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_mode = ssl.CERT_REQUIRED  # MicroPython's ssl begins with CERT_NONE
    key = _file(directory, _KEY)
    try:
        admission = json.loads(_file(directory, _ADMISSION))
        context.load_cert_chain(bytes.fromhex(admission["certificate"]), key)
        context.load_verify_locations(cadata=bytes.fromhex(admission["ca"]))
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise ConfigError(_ADMISSION[1:], f"is damaged ({error}); provision the device anew") from error
    return context


def _file(directory: str, name: str) -> bytes:
    data = files.read(directory + name)
    if data is None:
        raise ConfigError(name[1:], "is missing; provision the device at its gateway")
    return data
