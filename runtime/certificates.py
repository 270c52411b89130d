"""A certificate authority in a folder, and what it issues: EC P-256 throughout, X.509 extensions as RFC 5280 has them.

A certificate and its key lie in one file, so that they are replaced together.
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

from runtime.files import DamagedFileError, write_whole
from runtime.locked_json import locked

_SLACK = timedelta(hours=1)  # a gateway without a clock of its own may be behind when it starts
_NO_BEGIN = datetime(1970, 1, 1, tzinfo=UTC)
_NO_END = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)  # RFC 5280, 4.1.2.5: no well-defined expiration date
_DNS_NAME = re.compile(
    r"(?=.{1,253}$)([A-Za-z0-9_]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)(\.[A-Za-z0-9_]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*"
)
ALWAYS = ("localhost", "127.0.0.1")


class HostNameError(Exception):
    """A text that is neither a host's name nor an address."""


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


class CertificateAuthority:
    """The CA in a folder; made at its first use. Raises DamagedFileError.

    life: of itself and of what it issues. None: neither begins or ends, since who is to believe it may have no clock.
    """

    def __init__(self, folder: Path, *, name: str, ca_life: timedelta | None, life: timedelta | None):
        self._folder = folder
        self._life = life
        self.file = folder / "ca.pem"  # for everybody: the certificate without the key
        with locked(folder / "ca"):
            own = folder / "authority.pem"
            if not own.exists():
                write_whole(own, _self_signed(name, ca_life).pem())
            self._pair = _read(own)
            if not self.file.exists() or self.file.read_bytes() != self.pem:
                write_whole(self.file, self.pem, mode=0o644)

    @property
    def pem(self) -> bytes:
        """The CA's certificate."""
        return _pem(self._pair.certificate)

    @property
    def der(self) -> bytes:
        """The CA's certificate."""
        return self._pair.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def fingerprint(self) -> bytes:
        """SHA-256 of the CA's certificate in DER."""
        return self._pair.certificate.fingerprint(hashes.SHA256())

    def server(self, name: str, common_name: str, names: Iterable[str], *, now: datetime | None = None) -> Path:
        """The file of a server's certificate and key, for localhost and these host names or addresses.

        Raises HostNameError.
        """
        wanted = x509.SubjectAlternativeName([_alternative(each) for each in dict.fromkeys((*ALWAYS, *names))])
        return self._own(name, common_name, ExtendedKeyUsageOID.SERVER_AUTH, wanted, now)

    def client(self, name: str, common_name: str, *, now: datetime | None = None) -> Path:
        """The file of a client certificate and key of our own."""
        return self._own(name, common_name, ExtendedKeyUsageOID.CLIENT_AUTH, None, now)

    def issue_client(
        self, key: ec.EllipticCurvePublicKey, name: str, serial: str, *, now: datetime | None = None
    ) -> x509.Certificate:
        """A client certificate for somebody's key; its subject is his name and serial."""
        subject = [x509.NameAttribute(NameOID.COMMON_NAME, name), x509.NameAttribute(NameOID.SERIAL_NUMBER, serial)]
        return self._issue(x509.Name(subject), key, ExtendedKeyUsageOID.CLIENT_AUTH, None, now)

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
        ca = self._pair.certificate
        begin, end = _span(self._life, now or datetime.now(UTC))
        builder = _builder(subject, ca.subject, key, begin, min(end, ca.not_valid_after_utc))
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


def subject(name: str, serial: str = "") -> str:
    """A certificate's subject as the broker spells it (RFC 4514)."""
    return f"CN={name},SERIALNUMBER={serial}" if serial else f"CN={name}"


def _self_signed(name: str, life: timedelta | None) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    # A name of its own for each CA, so that one that was made anew is not taken for the one before.
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    own = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{name} {identifier.digest.hex()[:16]}")])
    begin, end = _span(life, datetime.now(UTC))
    builder = _builder(own, own, key.public_key(), begin, end)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_key_usage(sign_certificates=True), critical=True)
    return Pair(builder.sign(key, hashes.SHA256()), key)


def _span(life: timedelta | None, now: datetime) -> tuple[datetime, datetime]:
    return (_NO_BEGIN, _NO_END) if life is None else (now - _SLACK, now + life)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, begin: datetime, end: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
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
            raise HostNameError(f"{name!r} is no host name and no address") from None
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
        raise DamagedFileError(file, str(error)) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise DamagedFileError(file, "key and certificate do not belong together")
    return Pair(certificate, key)
