"""Devices as a gateway admits them, for tests and benches: their keys and certificates."""

import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from edge.device_authority import DeviceAuthority
from firmware.core import identity
from runtime.tls import client_tls


def admit(data: Path, device: str, storage: Path) -> None:
    """Have the gateway with this data folder admit a device, which keeps in its storage what it needs."""
    storage.mkdir(parents=True, exist_ok=True)
    admission = DeviceAuthority(data).admit(device, identity.public_key(str(storage)))
    identity.admit(str(storage), admission.certificate, admission.ca)


def device_tls(data: Path, device: str) -> ssl.SSLContext:
    """TLS to the gateway with this data folder, as a device that it has just admitted."""
    key = ec.generate_private_key(ec.SECP256R1())
    point = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    authority = DeviceAuthority(data)
    certificate = x509.load_der_x509_certificate(authority.admit(device, point).certificate)
    file = data / f"{device}.pem"
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(certificate.public_bytes(Encoding.PEM) + secret)
    return client_tls(ca=authority.file, certificate=file, key=file)
