"""The bonds that were made through an adapter without BlueZ, which else keeps them."""

import json
from pathlib import Path
from typing import Any

from bumble.hci import Address
from bumble.keys import KeyStore, PairingKeys

from edge.errors import EdgeError
from runtime.files import write_whole

_Stored = dict[str, dict[str, Any]]


class BondsError(EdgeError):
    """The file of bonds cannot be used: `path` and `reason`."""

    def __init__(self, path: Path, reason: str):
        super().__init__(f"the bonds in {path} cannot be read: {reason}")
        self.path = path
        self.reason = reason


class Bonds(KeyStore):
    """The keys of bonded peers and the address they know us by, in one JSON file that only its owner may read.

    Without a path the bonds last as long as the process. Raises BondsError for a file that cannot be used.
    """

    def __init__(self, path: Path | None):
        self._path = path
        self._peers: _Stored = {}
        address = str(Address.generate_static_address())
        if path is not None and path.exists():
            try:
                stored = json.loads(path.read_text(encoding="utf-8"))
                address, self._peers = stored["address"], stored["peers"]
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise BondsError(path, repr(error)) from error
        self.address = Address(address)

    def forget(self, peer: str) -> None:
        """Remove a peer's keys, if there are any."""
        if self._peers.pop(peer, None) is not None:
            self._save()

    async def get(self, name: str) -> PairingKeys | None:
        """A peer's keys."""
        return PairingKeys.from_dict(self._peers[name]) if name in self._peers else None

    async def get_all(self) -> list[tuple[str, PairingKeys]]:
        """All peers and their keys."""
        return [(name, PairingKeys.from_dict(keys)) for name, keys in self._peers.items()]

    async def update(self, name: str, keys: PairingKeys) -> None:
        """Store a peer's keys in place of older ones."""
        self._peers[name] = keys.to_dict()
        self._save()

    async def delete(self, name: str) -> None:
        """Remove a peer's keys."""
        self.forget(name)

    def _save(self) -> None:
        if self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        content = json.dumps({"address": str(self.address), "peers": self._peers}, indent=1, sort_keys=True)
        write_whole(self._path, content.encode())
