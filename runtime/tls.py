"""The client's side of TLS, and what to tell a person when it fails."""

import asyncio
import ssl
from pathlib import Path

# OpenSSL's X509_V_ERR_* numbers (x509_vfy.h)
_NOT_TRUSTED = (2, 18, 19, 20, 21)
_NOT_YET, _EXPIRED = 9, 10
_OTHER_NAME = (62, 64)

_REFUSED_S = 2.0

_ALERTS = {
    "CERTIFICATE_EXPIRED": "it refuses our certificate, which has expired",
    "UNKNOWN_CA": "it refuses our certificate, which is of another CA",
    "BAD_CERTIFICATE": "it refuses our certificate",
    "CERTIFICATE_REQUIRED": "it wants a certificate of us, and there is none",
    "HANDSHAKE_FAILURE": "it refuses the TLS handshake",
    "WRONG_VERSION_NUMBER": "it does not speak TLS on this port",
    "UNEXPECTED_EOF": "it ended the connection in the midst of the TLS handshake",
}


class _Socket(ssl.SSLSocket):
    """A socket that is closed when its handshake fails: paho-mqtt leaves it to the collector."""

    def do_handshake(self, block: bool = False) -> None:
        """As ssl.SSLSocket's."""
        try:
            super().do_handshake(block)
        except BaseException:
            self.close()
            raise


def client_tls(*, ca: Path, certificate: Path | None = None, key: Path | None = None) -> ssl.SSLContext:
    """A context that trusts this CA alone and checks host names. Raises OSError (ssl.SSLError is one)."""
    context = ssl.create_default_context(cafile=ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.sslsocket_class = _Socket
    if certificate is not None:
        context.load_cert_chain(certificate, key)
    return context


def explain(error: ssl.SSLError, host: str) -> str:
    """Why there is no TLS session with the host, in one clause."""
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in _NOT_TRUSTED:
            return f"the certificate of {host} is not of the CA that is trusted here"
        if error.verify_code == _EXPIRED:
            return f"the certificate of {host} has expired"
        if error.verify_code == _NOT_YET:
            return f"the certificate of {host} is not valid yet; are the clocks right?"
        if error.verify_code in _OTHER_NAME:
            return f"the certificate of {host} is for other host names, not for {host}"
        return f"the certificate of {host} is refused: {error.verify_message}"
    reason = error.reason or str(error)
    return f"{host}: {next((text for word, text in _ALERTS.items() if word in reason), f'TLS failed: {reason}')}"


async def refusal(context: ssl.SSLContext, host: str, port: int) -> str | None:
    """Why TLS with this host fails, found by trying once more; None if it does not fail.

    A TLS 1.3 server judges our certificate after the handshake, and MQTT clients keep to themselves what it says then.
    """
    try:
        async with asyncio.timeout(_REFUSED_S):
            reader, writer = await asyncio.open_connection(host, port, ssl=context)
            try:
                await reader.read(1)
            finally:
                writer.transport.abort()
    except ssl.SSLError as error:
        return explain(error, host)
    except (OSError, TimeoutError):
        return None  # the line is cut, or the server waits for us to speak: it is not TLS that fails
    return None
