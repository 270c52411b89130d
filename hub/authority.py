"""The hub's certificate authority: its own key, the broker's and ingest's certificates, and those of gateways.

EC P-256 throughout; X.509 extensions as RFC 5280 wants them. A certificate and its key lie in one file, so that they
are replaced together.
"""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hub.errors import CsrError, SetupError
from hub.locked_json import locked
from hub.logins import HUB
from runtime.broker import Tls
from runtime.files import write_whole

_CA_LIFE = timedelta(days=3650)
_LIFE = timedelta(days=365)
_SLACK = timedelta(hours=1)  # a gateway without a clock of its own may be behind when it starts
_DNS_NAME = re.compile(
    r"(?=.{1,253}$)([A-Za-z0-9_]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)(\.[A-Za-z0-9_]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*"
)
ALWAYS = ("localhost", "127.0.0.1")


@dataclass(frozen=True)
class Pair:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def pem(self) -> bytes:
        """Both, the certificate first."""
        key = self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return _pem(self.certificate) + key


class Authority:
    """The CA in DATA/ca; made at its first use. Raises SetupError if its files are damaged."""

    def __init__(self, data: Path):
        self._folder = data / "ca"
        self.file = self._folder / "ca.pem"  # for everybody: the certificate without the key
        with locked(self._folder / "ca"):
            own = self._folder / "authority.pem"
            if not own.exists():
                write_whole(own, _self_signed().pem())
            self._pair = _read(own)
            if not self.file.exists() or self.file.read_bytes() != self.pem:
                write_whole(self.file, self.pem, mode=0o644)

    @property
    def pem(self) -> bytes:
        """The CA's certificate."""
        return _pem(self._pair.certificate)

    @property
    def fingerprint(self) -> bytes:
        """SHA-256 of the CA's certificate in DER."""
        return self._pair.certificate.fingerprint(hashes.SHA256())

    def broker(self, names: Iterable[str] = (), *, now: datetime | None = None) -> Tls:
        """The broker's certificate for localhost and these host names or addresses. Raises SetupError."""
        wanted = x509.SubjectAlternativeName([_alternative(name) for name in dict.fromkeys((*ALWAYS, *names))])
        file = self._own("broker", "kerb-broker", ExtendedKeyUsageOID.SERVER_AUTH, wanted, now)
        return Tls(certificate=file, key=file, ca=self.file)

    def ingest(self, *, now: datetime | None = None) -> Path:
        """The file of the hub's own client certificate and key."""
        return self._own("ingest", HUB, ExtendedKeyUsageOID.CLIENT_AUTH, None, now)

    def sign(self, csr_pem: bytes, gateway: str, serial: str, *, now: datetime | None = None) -> bytes:
        """A gateway's client certificate (PEM) for the request's key. Raises CsrError.

        Of what the request says its key and its CN alone are taken; everything else in the certificate is ours.
        """
        request = checked_csr(csr_pem, gateway)
        key = request.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        subject = [x509.NameAttribute(NameOID.COMMON_NAME, gateway), x509.NameAttribute(NameOID.SERIAL_NUMBER, serial)]
        return _pem(self._issue(x509.Name(subject), key, ExtendedKeyUsageOID.CLIENT_AUTH, None, now))

    def _own(
        self,
        name: str,
        common_name: str,
        usage: x509.ObjectIdentifier,
        names: x509.SubjectAlternativeName | None,
        now: datetime | None,
    ) -> Path:
        file = self._folder / f"{name}.pem"
        with locked(file):
            if not file.exists() or not self._serves(_read(file).certificate, names, now or datetime.now(UTC)):
                key = ec.generate_private_key(ec.SECP256R1())
                subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
                write_whole(file, Pair(self._issue(subject, key.public_key(), usage, names, now), key).pem())
        return file

    def _serves(self, certificate: x509.Certificate, names: x509.SubjectAlternativeName | None, now: datetime) -> bool:
        """Whether a certificate has a third of its life left, is ours, and is for these names."""
        left, life = (
            certificate.not_valid_after_utc - now,
            certificate.not_valid_after_utc - certificate.not_valid_before_utc,
        )
        ours = certificate.issuer == self._pair.certificate.subject
        return ours and left > life / 3 and (names is None or _names(certificate) == names)

    def _issue(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePublicKey,
        usage: x509.ObjectIdentifier,
        names: x509.SubjectAlternativeName | None,
        now: datetime | None,
    ) -> x509.Certificate:
        ca, at = self._pair.certificate, now or datetime.now(UTC)
        builder = _builder(subject, ca.subject, key, at, min(at + _LIFE, ca.not_valid_after_utc))
        identifier = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        extensions: list[tuple[x509.ExtensionType, bool]] = [
            (x509.BasicConstraints(ca=False, path_length=None), True),
            (_key_usage(sign_certificates=False), True),
            (x509.ExtendedKeyUsage([usage]), False),
            (x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), False),
        ]
        if names:
            extensions.append((names, False))
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(self._pair.key, hashes.SHA256())


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


def _self_signed() -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    # A name of its own for each CA, so that one that was made anew is not taken for the one before.
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Kerb hub CA {identifier.digest.hex()[:16]}")])
    now = datetime.now(UTC)
    builder = _builder(name, name, key.public_key(), now, now + _CA_LIFE)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_key_usage(sign_certificates=True), critical=True)
    return Pair(builder.sign(key, hashes.SHA256()), key)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, end: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SLACK)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _key_usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        if not _DNS_NAME.fullmatch(name):
            raise SetupError(f"{name!r} is no host name and no address") from None
        return x509.DNSName(name)


def _names(certificate: x509.Certificate) -> x509.SubjectAlternativeName:
    return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _read(file: Path) -> Pair:
    content = file.read_bytes()
    try:
        key = serialization.load_pem_private_key(content, None)
        certificate = x509.load_pem_x509_certificate(content)
    except (ValueError, TypeError) as error:
        raise SetupError(f"{file} is damaged: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise SetupError(f"{file} is damaged: key and certificate do not belong together")
    return Pair(certificate, key)
