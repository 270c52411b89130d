"""Enrols a gateway at a hub: makes its key here, and exchanges a one-time token for a certificate.

The hub's page may be plain HTTP. Nothing secret is sent, and an answer is believed only if it was made with the token.
"""

import hashlib
import http.client
import json
import os
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from edge.errors import EnrolError
from protocols import topics
from runtime.enrolment import MAX_BYTES, PATH, Token, TokenError, answer_proof, request_proof, same
from runtime.files import write_whole

CA, CERTIFICATE, KEY = "ca.pem", "gateway.pem", "gateway.key"
_TIMEOUT_S = 15.0


def enrol(hub: str, *, token: str, gateway: str, directory: Path) -> None:
    """Write ca.pem, gateway.pem and gateway.key to the directory. Raises EnrolError, and has then written nothing."""
    if not topics.is_id(gateway):
        raise EnrolError(f"{gateway!r} cannot name a gateway: 1 to 64 of A-Z a-z 0-9 _ -")
    try:
        known = Token.parse(token)
    except TokenError as error:
        raise EnrolError(str(error)) from error
    _check_directory(directory)  # before the token is used up
    key = ec.generate_private_key(ec.SECP256R1())
    csr = _request(key, gateway)
    answer = _ask(hub, {"token": known.id, "csr": csr, "proof": request_proof(known.secret, csr.encode())})
    certificate, ca = _checked(answer, known, key, gateway)
    try:
        write_whole(directory / KEY, _pem(key))
        write_whole(directory / CA, ca, mode=0o644)
        write_whole(directory / CERTIFICATE, certificate, mode=0o644)
    except OSError as error:
        raise EnrolError(f"{directory} cannot be written, and the token is used up: {error.strerror}") from error


def _check_directory(directory: Path) -> None:
    there = [name for name in (CA, CERTIFICATE, KEY) if (directory / name).exists()]
    if there:
        raise EnrolError(f"{directory} has {', '.join(there)} already; move that away to enrol anew")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        write_whole(directory / f".{KEY}.try", b"")
        (directory / f".{KEY}.try").unlink()
    except OSError as error:
        raise EnrolError(f"{directory} cannot be written: {os.strerror(error.errno or 0)}") from error


def _request(key: ec.EllipticCurvePrivateKey, gateway: str) -> str:
    """A certificate signing request for our key, PEM."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, gateway)])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode()


def _ask(hub: str, body: dict[str, str]) -> dict[str, str]:
    """The hub's answer, all of it text, and not yet to be believed."""
    parts = urlsplit(hub)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise EnrolError(f"--hub {hub!r} must be http://HOST:PORT, as of the hub's page")
    request = urllib.request.Request(
        hub.rstrip("/") + PATH, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response:
            answer = json.loads(response.read(MAX_BYTES))
    except urllib.error.HTTPError as error:
        raise EnrolError(f"the hub refuses: {_detail(error)}") from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise EnrolError(f"the hub cannot be reached at {hub}: {reason}") from error
    except ValueError as error:
        raise EnrolError(f"what answers at {hub} is no hub of ours") from error
    if not isinstance(answer, dict) or not all(isinstance(answer.get(k), str) for k in ("certificate", "ca", "proof")):
        raise EnrolError(f"what answers at {hub} is no hub of ours")
    return answer


def _detail(error: urllib.error.HTTPError) -> str:
    """The reason in a problem answer (RFC 9457); it is printed, so it is kept short and on one line."""
    try:
        problem = json.loads(error.read(MAX_BYTES))
        text = str(problem["detail"]).split(": ", 1)[-1]
    except (OSError, ValueError, KeyError, TypeError):
        text = f"HTTP status {error.code}"
    return "".join(letter if letter.isprintable() else " " for letter in text)[:300]


def _checked(
    answer: dict[str, str], token: Token, key: ec.EllipticCurvePrivateKey, gateway: str
) -> tuple[bytes, bytes]:
    """Certificate and CA (PEM), after it is sure that they come from the token's hub and are for our key."""
    certificate, ca = answer["certificate"].encode(), answer["ca"].encode()
    if not same(answer_proof(token.secret, certificate, ca), answer["proof"]):
        raise EnrolError("the answer was not made by the hub that made the token: somebody is in between")
    try:
        authority, ours = x509.load_pem_x509_certificate(ca), x509.load_pem_x509_certificate(certificate)
        ours.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature) as error:
        raise EnrolError("the hub's answer holds no certificate of its CA") from error
    if hashlib.sha256(authority.public_bytes(serialization.Encoding.DER)).digest() != token.fingerprint:
        raise EnrolError("the hub's CA is not the one that made the token; make another token")
    names = [attribute.value for attribute in ours.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if ours.public_key() != key.public_key() or names != [gateway]:
        raise EnrolError("the hub's answer holds a certificate for another key or another gateway")
    return certificate, ca


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
