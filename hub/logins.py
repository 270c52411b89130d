"""Who may log in at the hub's broker: the hub itself, and each gateway, which may touch its own prefix alone.

A login is the subject of a client certificate. A gateway's holds a serial besides its id: one that enrols again, or is
revoked, is not let in by the certificate that it had before.
"""

import secrets
from pathlib import Path

from hub.errors import SetupError
from hub.locked_json import locked_json
from protocols import topics
from runtime.broker import User
from runtime.certificates import subject

HUB = "hub"
FILE = "logins.json"


def check_id(gateway: str) -> None:
    """Raises SetupError if it can't be the name of a gateway."""
    if not topics.is_id(gateway) or gateway == HUB:
        raise SetupError(f"{gateway!r} cannot name a gateway: 1 to 64 of A-Z a-z 0-9 _ -, and not {HUB!r}")


def admit(data: Path, gateway: str) -> str:
    """Let the gateway in, from now on by a certificate with the serial that this returns. Raises SetupError."""
    check_id(gateway)
    with locked_json(data / FILE) as serials:
        serials[gateway] = secrets.token_hex(8)
        return str(serials[gateway])


def revoke(data: Path, gateway: str) -> bool:
    """Let the gateway in no longer; returns whether it was let in."""
    with locked_json(data / FILE) as serials:
        return serials.pop(gateway, None) is not None


def users(data: Path) -> list[User]:
    """Everybody, with what each may publish and subscribe to."""
    with locked_json(data / FILE) as serials:
        gateways = [_gateway(name, serial) for name, serial in sorted(serials.items())]
    hub = User(
        subject(HUB),
        publish=["g/+/cursor/+", "g/+/cmd", "g/+/refused", "g/+/tally"],
        subscribe=["g/+/birth", "g/+/status", "g/+/up/+", "g/+/result"],
    )
    return [hub, *gateways]


def version(data: Path) -> int:
    """A number that changes whenever the logins do."""
    path = data / FILE
    return path.stat().st_mtime_ns if path.exists() else 0


def _gateway(name: str, serial: str) -> User:
    mine = f"g/{name}"
    return User(
        subject(name, serial),
        publish=[f"{mine}/birth", f"{mine}/status", f"{mine}/up/+", f"{mine}/result"],
        subscribe=[f"{mine}/cursor/+", f"{mine}/cmd", f"{mine}/refused", f"{mine}/tally"],
    )
