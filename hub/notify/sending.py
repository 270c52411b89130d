"""Sends a notice to a person, in one way, once."""

import asyncio
import json
import ssl

from hub.errors import SetupError
from hub.notify import mail, webhook
from hub.notify.directory import EMAIL, Directory
from hub.notify.errors import DeliveryError

TIMEOUT_S = 15.0


async def send(directory: Directory, person: str, channel: str, key: str, body: str, *, now_ms: int) -> None:
    """Have it taken by the far side. Raises DeliveryError."""
    try:
        async with asyncio.timeout(TIMEOUT_S):
            if channel == EMAIL:
                await _mail(directory, person, key, body, now_ms)
            else:
                await _post(directory, person, key, body, now_ms)
    except TimeoutError:
        raise DeliveryError(f"no answer within {TIMEOUT_S:.0f} s") from None
    except SetupError as error:
        raise DeliveryError(error.reason) from error


async def _mail(directory: Directory, person: str, key: str, body: str, now_ms: int) -> None:
    known = directory.people.get(person)
    server = directory.server
    if known is None or known.email is None or server is None:
        raise DeliveryError(f"{person} has no email any more", final=True)
    said = json.loads(body)
    made = mail.message(
        sender=server.sender,
        to=known.email,
        subject=said["subject"],
        text=said["text"],
        notice=key,
        priority=said.get("priority", ""),
        time_ms=now_ms,
    )
    password = directory.secret(server.password_file) if server.password_file else None
    await mail.send(made, server, password=password, tls=directory.tls(server.ca))


async def _post(directory: Directory, person: str, key: str, body: str, now_ms: int) -> None:
    known = directory.people.get(person)
    hook = known.webhook if known else None
    if hook is None:
        raise DeliveryError(f"{person} has no webhook any more", final=True)
    secret = directory.secret(hook.secret_file)
    # To read the system's CAs takes long; for plain HTTP, within this machine, a context that trusts nobody does.
    tls = directory.tls(hook.ca) if hook.url.startswith("https:") else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    await webhook.post(hook.url, key, body.encode(), secret=secret, time_s=now_ms // 1000, tls=tls)
