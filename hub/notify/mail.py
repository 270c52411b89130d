"""Telling a person by e-mail: SMTP (RFC 5321) with TLS, by STARTTLS (RFC 3207) or from the start (RFC 8314)."""

import hashlib
import ssl
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime

import aiosmtplib

from hub.notify.directory import Server
from hub.notify.errors import DeliveryError

_URGENT = {"high": "high", "medium": "normal", "low": "low"}


def message(*, sender: str, to: str, subject: str, text: str, notice: str, priority: str, time_ms: int) -> EmailMessage:
    """The mail. Its Message-ID follows from the notice's key: one that is sent again is known as the same."""
    made = EmailMessage()
    made["From"] = sender
    made["To"] = to
    made["Subject"] = subject
    made["Date"] = format_datetime(datetime.fromtimestamp(time_ms // 1000, UTC))
    made["Message-ID"] = f"<{hashlib.sha256(notice.encode()).hexdigest()[:40]}@{sender.partition('@')[2]}>"
    made["Auto-Submitted"] = "auto-generated"  # RFC 3834: no answer by a machine is wanted
    made["Importance"] = _URGENT.get(priority, "normal")
    made.set_content(text)
    return made


async def send(mail: EmailMessage, server: Server, *, password: str | None, tls: ssl.SSLContext) -> None:
    """Have it taken. Raises DeliveryError. The caller sets a limit to the time."""
    try:
        await aiosmtplib.send(
            mail,
            hostname=server.host,
            port=server.port,
            use_tls=server.security == "tls",
            start_tls=server.security == "starttls",  # a server that does not offer it is told nothing
            tls_context=None if server.security == "none" else tls,
            username=server.username,
            password=password,
            timeout=None,
        )
    except aiosmtplib.SMTPRecipientsRefused as error:
        first = error.recipients[0]
        raise DeliveryError(f"refused: {first.code} {first.message}", final=first.code >= 500) from error
    except aiosmtplib.SMTPResponseException as error:
        # That we may not send at all can be mended meanwhile; only what is said of this mail is final.
        final = isinstance(error, aiosmtplib.SMTPDataError) and error.code >= 500
        raise DeliveryError(f"refused: {error.code} {error.message}", final=final) from error
    except ValueError as error:  # of a login or an address that SMTP has no way to say
        raise DeliveryError(f"cannot be sent: {error}") from error
    except (aiosmtplib.SMTPException, OSError) as error:
        raise DeliveryError(f"no answer: {error}") from error
