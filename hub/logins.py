"""Who may log in at the hub's broker: the hub itself, and each gateway, which may touch its own prefix alone.

They are kept in one file that only its owner may read. Over plain TCP a login is a name and a password.
"""

import fcntl
import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hub.errors import SetupError
from protocols import topics
from runtime.broker import User

HUB = "hub"
FILE = "logins.json"


def hub_password(data: Path) -> str:
    """The hub's own password, made when it is first asked for."""
    with _locked(data) as passwords:
        if HUB not in passwords:
            passwords[HUB] = secrets.token_urlsafe(24)
        return passwords[HUB]


def gateway_password(data: Path, gateway: str) -> str:
    """A gateway's password, made when it is first asked for. Raises SetupError if it can't be the name of one."""
    if not topics.is_id(gateway) or gateway == HUB:
        raise SetupError(f"{gateway!r} cannot name a gateway: 1 to 64 of A-Z a-z 0-9 _ -, and not {HUB!r}")
    with _locked(data) as passwords:
        if gateway not in passwords:
            passwords[gateway] = secrets.token_urlsafe(24)
        return passwords[gateway]


def users(data: Path) -> list[User]:
    """Everybody, with what each may publish and subscribe to."""
    hub_password(data)
    with _locked(data) as passwords:
        return [_user(name, password) for name, password in sorted(passwords.items())]


def _user(name: str, password: str) -> User:
    if name == HUB:
        return User(name, ["g/+/cursor/+", "g/+/cmd"], ["g/+/birth", "g/+/up/+", "g/+/result"], password)
    mine = f"g/{name}"
    return User(
        name, [f"{mine}/birth", f"{mine}/up/+", f"{mine}/result"], [f"{mine}/cursor/+", f"{mine}/cmd"], password
    )


@contextmanager
def _locked(data: Path) -> Iterator[dict[str, str]]:
    """The passwords; what is changed in them is written, whole or not at all."""
    data.mkdir(parents=True, exist_ok=True)
    path = data / FILE
    with (data / "logins.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            before: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
        except ValueError as error:
            raise SetupError(f"{path} is damaged: {error}") from error
        passwords = dict(before)
        yield passwords
        if passwords != before:
            draft = path.with_suffix(".new")
            draft.touch(mode=0o600)
            draft.write_text(json.dumps(passwords, indent=1))
            draft.replace(path)


def version(data: Path) -> int:
    """A number that changes whenever the logins do."""
    path = data / FILE
    return path.stat().st_mtime_ns if path.exists() else 0
