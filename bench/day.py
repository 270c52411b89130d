"""A day without a line, and what it takes to hand it over: 100 readings a second, none like another.

A gateway without a line writes so many hours at full speed (its clock runs as fast as its pipeline and its disk); then,
as a process of its own, it meets a real hub (broker, ingest, web) over TLS, while its devices go on: 20 that are polled
once a second, and one that entrusts it urgent readings. With `--receiver` the hub's ingest is replaced by one that
only counts: then the gateway's side of draining is measured.

Fields: `readings`; `disk_mb`, `bytes_per_reading_disk` (all files of the outbox); `bytes_per_reading_wire` (TLS and
MQTT included, live ones too); `write_readings_per_s`; `open_s` (until the gateway's page answers, with the backlog);
`drain_readings_per_s`; `live_p99_ms`, `urgent_p99_ms` from made to stored, while draining; `fsyncs_per_million`,
`mb_written_per_million` and `card_years`: what it costs a memory card if every reading must be written, see
bench/parts/day/card.py; `missing`, `duplicates`, `seconds`.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

from bench.parts import rig
from bench.parts.day.card import Cost, cost
from bench.parts.numbered import NumberedDevice
from bench.parts.proxy import Proxy
from hub import logins
from hub.authority import Authority
from hub.store.querying import Querying
from protocols.topics import URGENT
from runtime.broker import EmbeddedBroker
from runtime.process import free_port, port_in_use

_DEVICES, _REGISTERS = 20, 5
_RATE = _DEVICES * _REGISTERS
_URGENT_GAP_S = 0.2
_LOOK_S = 0.25
_UNDER_WAY = 500  # readings that are held though all is well
_STALLED_S = 120.0
_ANSWER_S = 0.01

_URGENT_LINK = """
[[links]]
name = "urgent"
kind = "mqtt"
port = {port}
devices = [{{ thing = "urgent-1", model = "bench-numbered" }}]
"""
_URGENT_MODEL = """\
[device]
model = "bench-numbered"
maker = "Kerb"
kind = "counter"
link = "mqtt"
name = { en = "Counter", zh = "计数器" }

[metrics.count]
name = { en = "Count", zh = "计数" }
unit = "1"
"""


def main() -> None:
    """Run once, and print one line of JSON."""
    parser = argparse.ArgumentParser(prog="kerb bench day", description=__doc__)
    parser.add_argument("--hours", type=float, default=24.0, help="how long the line is away (default 24)")
    parser.add_argument("--receiver", action="store_true", help="drain into one that only counts")
    given = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="kerb-bench-") as name:
        said = Day(Path(name)).run(given.hours, receiver=given.receiver)
    print(json.dumps({**said, "seconds": round(time.monotonic() - started, 1)}))
    if said["missing"] or said["duplicates"]:
        raise SystemExit(1)


class Day:
    """One gateway and its hub, in a folder. card_hours: how long to count what it costs a card."""

    def __init__(self, folder: Path, *, card_hours: float = 0.25):
        self.folder = folder
        self._card_hours = card_hours
        self.ports = {name: free_port() for name in ("hub", "line", "page", "modbus", "devices", "web")}
        rig.enrol(folder)
        self._configure(folder)

    def run(self, hours: float, *, receiver: bool) -> dict[str, Any]:
        """Everything, one after another."""
        _say("what it costs a card")
        card = self._card()
        _say(f"{hours:g} hours are written")
        written = self._write(hours)
        disk = sum(file.stat().st_size for file in (self.folder / "data").glob("outbox.db*"))
        _say(f"{written['readings']} readings in {written['seconds']:.0f} s, {disk / 1e6:.0f} MB; they are handed over")
        drained = asyncio.run(self._drain(receiver=receiver))
        return {
            "readings": written["readings"],
            "disk_mb": round(disk / 1e6, 1),
            "bytes_per_reading_disk": round(disk / written["readings"], 2),
            "write_readings_per_s": round(written["readings"] / written["seconds"]),
            **drained,
            "fsyncs_per_million": round(card.syncs),
            "mb_written_per_million": round(card.mb_written, 1),
            "card_years": round(card.years(_RATE), 1),
        }

    def _configure(self, folder: Path) -> None:
        rig.write_config(
            folder,
            devices=_DEVICES,
            registers=_REGISTERS,
            period_s=1.0,
            mqtt=self.ports["line"],
            page=self.ports["page"],
            modbus=self.ports["modbus"],
            commit_ms=1000,
        )
        with (folder / "gateway.toml").open("a", encoding="utf-8") as file:
            file.write(_URGENT_LINK.format(port=self.ports["devices"]))
        (folder / "models" / "bench-numbered.toml").write_text(_URGENT_MODEL, encoding="utf-8")

    def _card(self) -> Cost:
        with tempfile.TemporaryDirectory(prefix="kerb-bench-card-") as name:
            folder = Path(name)
            for file in ("gateway.toml", "gateway.pem", "gateway.key"):
                (folder / file).write_bytes((self.folder / file).read_bytes())
            (folder / "models").symlink_to(self.folder / "models")
            return cost(folder, folder / "gateway.toml", self._card_hours, round(self._card_hours * 3600 * _RATE))

    def _write(self, hours: float) -> dict[str, Any]:
        command = [sys.executable, "-m", "bench.parts.day.writer", str(self.folder / "gateway.toml"), str(hours)]
        ended = subprocess.run(command, cwd=rig.ROOT, stdout=subprocess.PIPE, check=True)
        written: dict[str, Any] = json.loads(ended.stdout)
        return written

    async def _drain(self, *, receiver: bool) -> dict[str, Any]:
        async with AsyncExitStack() as stack:
            processes = stack.enter_context(ExitStack())
            far = await self._far_side(stack, processes, receiver=receiver)
            modbus = ("--port", str(self.ports["modbus"]), "--registers", str(_REGISTERS))
            rig.start(processes, "bench.parts.modbus_server", *modbus, output=subprocess.DEVNULL)
            line = await stack.enter_async_context(Proxy(self.ports["line"], self.ports["hub"]))
            device = NumberedDevice("urgent-1", self.ports["devices"], lane=URGENT)
            device.admit(self.folder / "data")
            started = time.monotonic()
            rig.start(processes, "edge", "run", str(self.folder / "gateway.toml"), output=None)
            first = await self._look()
            opened_s = time.monotonic() - started
            device.start()
            making = asyncio.create_task(_make(device), name="urgent readings")
            rate, delivered = await self._until_drained(first)
            sent = line.sent
            await _end(making)
            verdict = await asyncio.to_thread(_of_receiver, far) if far else await self._of_hub()
            await device.stop()
        return {
            "bytes_per_reading_wire": round(sent / delivered, 2),
            "open_s": round(opened_s, 1),
            "drain_readings_per_s": round(rate),
            **verdict,
        }

    async def _far_side(
        self, stack: AsyncExitStack, processes: ExitStack, *, receiver: bool
    ) -> "subprocess.Popen[str] | None":
        """A hub; or a broker and a receiver, which is returned."""
        if not receiver:
            ports = ("--mqtt-port", str(self.ports["hub"]), "--port", str(self.ports["web"]))
            rig.start(processes, "hub", "run", "--data", str(self.folder), *ports, output=None)
            await asyncio.to_thread(_wait_for, self.ports["web"])
            return None
        broker = EmbeddedBroker(
            self.folder / "broker",
            host="127.0.0.1",
            port=self.ports["hub"],
            users=logins.users(self.folder),
            tls=Authority(self.folder).broker(("127.0.0.1",)),
        )
        running = asyncio.create_task(broker.run(), name="broker")
        stack.push_async_callback(_end, running)
        await broker.ready.wait()
        words = (str(self.folder), str(self.ports["hub"]), str(_ANSWER_S))
        return rig.start(processes, "bench.parts.receiver", *words, output=subprocess.PIPE)

    async def _look(self) -> dict[str, Any]:
        """The gateway's status, as soon as it tells it."""
        while True:
            try:
                return await asyncio.to_thread(rig.status, self.ports["page"])
            except OSError:
                await asyncio.sleep(_LOOK_S)

    async def _until_drained(self, first: dict[str, Any]) -> tuple[float, int]:
        """Readings handed over a second, and how many they were, until no more are held than those under way."""
        started = moved = time.monotonic()
        held = before = _held(first)
        status = first
        while held > _UNDER_WAY:
            await asyncio.sleep(_LOOK_S)
            status = await self._look()
            if _held(status) < held:
                moved = time.monotonic()
            elif time.monotonic() - moved > _STALLED_S:
                raise SystemExit(f"{held} readings are left, and nothing has moved for {_STALLED_S:g} s")
            held = _held(status)
        delivered = before - held + _read(status) - _read(first)
        return delivered / (time.monotonic() - started), delivered

    async def _of_hub(self) -> dict[str, Any]:
        """What the hub knows of latencies, and whether anything is missing, once nothing is under way."""
        await asyncio.sleep(4 * _LOOK_S)
        held = _held(await self._look())
        custody = Querying(self.folder).custody()
        live = [each.p99_ms for each in custody if each.thing.startswith("device-") and each.p99_ms is not None]
        (urgent,) = [each.p99_ms for each in custody if each.thing == "urgent-1"]
        outside = sum(each.read - each.suppressed - each.stored - each.declared_lost for each in custody)
        return {
            "live_p99_ms": max(live),
            "urgent_p99_ms": urgent,
            "missing": max(0, outside - held),
            "duplicates": sum(each.duplicates for each in custody),
        }


def _wait_for(port: int) -> None:
    while not port_in_use("127.0.0.1", port):
        time.sleep(_LOOK_S)


def _of_receiver(receiver: "subprocess.Popen[str]") -> dict[str, Any]:
    said = rig.end(receiver)
    return {"receiver_packs": said["packs"], "live_p99_ms": None, "urgent_p99_ms": None, "missing": 0, "duplicates": 0}


async def _make(device: NumberedDevice) -> None:
    while True:
        device.make()
        await asyncio.sleep(_URGENT_GAP_S)


async def _end(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.wait((task,))


def _held(status: dict[str, Any]) -> int:
    return sum(thing["buffered"] for thing in status["things"].values())


def _read(status: dict[str, Any]) -> int:
    return sum(thing["read"] - thing["suppressed"] for thing in status["things"].values())


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
