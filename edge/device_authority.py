"""The gateway as the certificate authority of its devices: who is admitted, and by which key.

A device makes its key itself and tells the public half (over the line by which it is provisioned, which proves who it
is). Its certificate has neither begin nor end, since a device without a wall clock could not judge them; what ends its
rights is that it is admitted no longer, or anew by another key.
"""

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from edge.errors import AdmissionError
from protocols import topics
from protocols.identity import POINT_BYTES, SERVER_NAME
from runtime.broker import Tls
from runtime.certificates import CertificateAuthority, HostNameError
from runtime.files import DamagedFileError
from runtime.locked_json import locked_json

FOLDER = "devices"
_ADMITTED = "admitted.json"
GATEWAY = "gateway"  # whom our own session's certificate is for: without a serial, which each device's has


@dataclass(frozen=True)
class Admission:
    """What a device needs beside its key, in DER: its certificate and that of the gateway's CA."""

    certificate: bytes
    ca: bytes


class DeviceAuthority:
    """The CA in the gateway's data folder; made at its first use. Raises AdmissionError if its files are damaged."""

    def __init__(self, data: Path):
        self._folder = data / FOLDER
        self._folder.mkdir(parents=True, exist_ok=True)
        with _usable():
            self._ca = CertificateAuthority(self._folder, name="Kerb device CA", ca_life=None, life=None)
        self.file = self._ca.file

    def admit(self, device: str, public_key: bytes) -> Admission:
        """Let the device in by this key (an uncompressed point of P-256), and no longer by any that it had before.

        Raises AdmissionError.
        """
        if not topics.is_id(device):
            raise AdmissionError(device, "its id is not 1 to 64 of A-Z a-z 0-9 _ -")
        key = _key(device, public_key)
        serial = secrets.token_hex(8)
        certificate = self._ca.issue_client(key, device, serial)
        with _usable(), locked_json(self._folder / _ADMITTED) as serials:
            serials[device] = serial
        return Admission(certificate.public_bytes(Encoding.DER), self._ca.der)

    def revoke(self, device: str) -> None:
        """Let the device in no longer. Raises AdmissionError if it was not let in."""
        with _usable(), locked_json(self._folder / _ADMITTED) as serials:
            if serials.pop(device, None) is None:
                raise AdmissionError(device, "is not admitted")

    def serials(self) -> dict[str, str]:
        """Which devices are let in, and the serial in the subject of each one's certificate."""
        with _usable(), locked_json(self._folder / _ADMITTED) as serials:
            return dict(serials)

    def version(self) -> int:
        """A number that changes whenever the admissions do."""
        path = self._folder / _ADMITTED
        return path.stat().st_mtime_ns if path.exists() else 0

    def broker(self, names: Sequence[str]) -> Tls:
        """The files of the broker for devices, which lets in nobody without a certificate of ours.

        names: by which it is found besides SERVER_NAME, by others than devices. Raises AdmissionError.
        """
        with _usable():
            file = self._ca.server("broker", "kerb-gateway", [SERVER_NAME, *names])
        return Tls(certificate=file, key=file, ca=self.file)

    def gateway(self) -> Path:
        """The file of the certificate and key by which the gateway itself logs in there."""
        with _usable():
            return self._ca.client("gateway", GATEWAY)


def _key(device: str, public_key: bytes) -> ec.EllipticCurvePublicKey:
    if len(public_key) != POINT_BYTES:
        raise AdmissionError(device, f"its public key has {len(public_key)} bytes, not {POINT_BYTES}")
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public_key)
    except ValueError as error:
        raise AdmissionError(device, "its public key is no point of P-256") from error


@contextmanager
def _usable() -> Iterator[None]:
    try:
        yield
    except (DamagedFileError, HostNameError) as error:
        raise AdmissionError("", str(error)) from error
