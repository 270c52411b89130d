"""Hub and gateway as real processes for tests and benches, in one folder; whatever may be killed has a name here."""

import contextlib
import os
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.parts.other_clock import Setting
from hardware.sim.block import GATEWAY, Block, get_json
from runtime.process import free_port

_CONFIG = """\
[gateway]
id = "{gateway}"
name = {{ en = "Laboratory", zh = "实验室" }}
data = "{data}"
models = "models"

[uplink]
kind = "hub"
url = "mqtts://127.0.0.1:{uplink}"
ca = "tls/ca.pem"
certificate = "tls/gateway.pem"
key = "tls/gateway.key"

[outbox]
commit_ms = 250

[page]
port = {page}
"""

# name -> the program that it is a child of, and a word of its command line
PARTS = {
    "hub's broker": ("hub", "nats-server"),
    "ingest": ("hub", "ingest"),
    "web": ("hub", "web"),
    "gateway's broker": ("gateway", "nats-server"),
}
PROGRAMS = ("hub", "gateway")
EVERYTHING = (*PROGRAMS, *PARTS)


class Lab(Block):
    """Hub and gateway as `kerb demo` runs them, with links and models of its own.

    links, models: what the gateway's config and its folder of models hold, by a file's name. uplink: the port on which
    the gateway finds the hub's broker, if not the broker's own. other_clock: gateways have the wall clock that
    `clock` is set to.
    """

    def __init__(
        self,
        directory: Path,
        *,
        links: str,
        models: Mapping[str, str] | None = None,
        uplink: int = 0,
        other_clock: bool = False,
    ):
        super().__init__(directory, hub_port=free_port())
        self.clock = directory / "clock.json" if other_clock else None
        self.mqtt_port = free_port()
        self.page_port = free_port()
        self._links = links
        self._models = models or {}
        self._uplink = uplink or self.mqtt_port
        self._pages: dict[str, int] = {}

    @property
    def hub_data(self) -> Path:
        """Where the hub keeps everything."""
        return self.directory / "hub"

    def prepare(self) -> None:
        """Write the config and the models."""
        models = self.directory / "models"
        models.mkdir(parents=True)
        for name, text in self._models.items():
            (models / f"{name}.toml").write_text(text, encoding="utf-8")
        if self.clock:
            Setting().write(self.clock)
        ports = ["--port", str(self.hub_port), "--mqtt-port", str(self.mqtt_port)]
        self._add("hub", ["hub", "run", "--data", str(self.hub_data), *ports])
        self.add_gateway("gateway", page=self.page_port)

    def add_gateway(self, name: str, *, page: int = 0, links: str = "") -> None:
        """One more gateway of the same identity, with storage in a folder of its name: not started yet."""
        page = page or free_port()
        self._pages[name] = page
        config = self.directory / f"{name}.toml"
        head = _CONFIG.format(gateway=GATEWAY, data=name, uplink=self._uplink, page=page)
        config.write_text(head + (links or self._links), encoding="utf-8")
        around = ["bench.parts.other_clock", str(self.clock)] if self.clock else []
        self._add(name, [*around, "edge", "run", str(config)])

    def status(self, name: str = "gateway") -> Any:
        """What the page of that gateway shows, or None while it does not answer."""
        return get_json(f"http://127.0.0.1:{self._pages[name]}/status.json")

    def pid(self, name: str) -> int | None:
        """The process of a program, or of a part of one; None while there is none."""
        if name in self.children:
            process = self.children[name].process
            return process.pid if process is not None and process.poll() is None else None
        program, word = PARTS[name]
        return next((child for child, line in _children(self.pid(program)) if word in line), None)

    def signal(self, name: str, number: int) -> bool:
        """Send a signal to a program or a part; False if there is no such process now."""
        pid = self.pid(name)
        with contextlib.suppress(ProcessLookupError):
            if pid is not None:
                os.kill(pid, number)
                return True
        return False

    def kill(self, name: str) -> bool:
        """kill -9 a program, with its children, or a part; False if there is no such process now."""
        return super().kill(name) if name in self.children else self.signal(name, signal.SIGKILL)


def _children(pid: int | None) -> Iterator[tuple[int, str]]:
    """The children of a process, each with its command line; none of one that has ended."""
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split():
            yield int(child), Path(f"/proc/{child}/cmdline").read_text(encoding="utf-8", errors="replace")
