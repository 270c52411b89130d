"""The hub's certificate authority: its own key, the broker's and ingest's certificates, and those of gateways."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from hub.errors import CsrError, SetupError
from hub.logins import HUB
from runtime.broker import Tls
from runtime.certificates import CertificateAuthority, HostNameError
from runtime.files import DamagedFileError

_CA_LIFE = timedelta(days=3650)
_LIFE = timedelta(days=365)


class Authority:
    """The CA in DATA/ca; made at its first use. Raises SetupError if its files are damaged."""

    def __init__(self, data: Path):
        with _usable():
            self._ca = CertificateAuthority(data / "ca", name="Kerb hub CA", ca_life=_CA_LIFE, life=_LIFE)
        self.file = self._ca.file  # for everybody: the certificate without the key
        self.pem = self._ca.pem
        self.fingerprint = self._ca.fingerprint  # SHA-256 of the certificate in DER

    def broker(self, names: Iterable[str] = (), *, now: datetime | None = None) -> Tls:
        """The broker's certificate for localhost and these host names or addresses. Raises SetupError."""
        with _usable():
            file = self._ca.server("broker", "kerb-broker", names, now=now)
        return Tls(certificate=file, key=file, ca=self.file)

    def ingest(self, *, now: datetime | None = None) -> Path:
        """The file of the hub's own client certificate and key. Raises SetupError."""
        with _usable():
            return self._ca.client("ingest", HUB, now=now)

    def sign(self, csr_pem: bytes, gateway: str, serial: str, *, now: datetime | None = None) -> bytes:
        """A gateway's client certificate (PEM) for the request's key. Raises CsrError.

        Of what the request says its key and its CN alone are taken; everything else in the certificate is ours.
        """
        key = checked_csr(csr_pem, gateway).public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        return self._ca.issue_client(key, gateway, serial, now=now).public_bytes(serialization.Encoding.PEM)


@contextmanager
def _usable() -> Iterator[None]:
    try:
        yield
    except (DamagedFileError, HostNameError) as error:
        raise SetupError(str(error)) from error


def checked_csr(pem: bytes, gateway: str) -> x509.CertificateSigningRequest:
    """A request that is whole, for this gateway, and for a key of the kind that we sign. Raises CsrError."""
    try:
        request = x509.load_pem_x509_csr(pem)
        names = [attribute.value for attribute in request.subject]
        key = request.public_key()
        valid = request.is_signature_valid
    except (ValueError, x509.InvalidVersion, TypeError) as error:
        raise CsrError("it cannot be read") from error
    if names != [gateway]:
        raise CsrError(f"the token is for gateway {gateway!r}, the request is of {names!r:.100}")
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp256r1":
        raise CsrError("its key is not of EC P-256")
    if not valid:
        raise CsrError("its signature is wrong")
    return request
