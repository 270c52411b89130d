"""72 hours that a device was offline come to a real gateway: real MicroPython, real broker, real outbox.

The device's flash holds one reading for each 10 s, in a pack each, as the firmware writes them; then it is started.
"""

import shutil
import subprocess
import tempfile
import time
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

from bench.parts import devices, rig
from edge.outbox_file import OutboxFile
from firmware.core.epochs import Epochs
from firmware.core.journal import Journal
from hardware.sim.chips.norflash import SECTOR_BYTES, FileFlash, NorFlash
from hardware.sim.device import prepare
from protocols import pack, senml
from protocols.deflated import inflate
from protocols.reading import reading
from protocols.topics import BULK
from runtime.process import free_port

DEVICE = "wearable-1"
_METRIC = "heart_rate"
_PERIOD_MS = 10_000
_JOURNAL_KB = 4096
_LIMIT_S = 600.0
_NOWHERE = subprocess.DEVNULL
_CONFIG = """\
[gateway]
id = "gateway-1"
name = {{ en = "G", zh = "G" }}
data = "data"

[uplink]
kind = "mqtt"
url = "mqtt://127.0.0.1:{nowhere}"

[page]
port = {page}

[[links]]
name = "devices"
kind = "mqtt"
port = {broker}
devices = [{{ thing = "wearable-1", model = "kerb-wearable" }}]
"""


class _Hal:
    """What an epoch's number needs."""

    def random_bits(self, count: int) -> int:
        return 4711 % (1 << count)


def measure(hours: float) -> dict[str, Any]:
    """`packs` that waited, `replay_s` until they are committed, and what was `twice`, `missing`, `out_of_order`."""
    with tempfile.TemporaryDirectory(prefix="kerb-replay-") as name, ExitStack() as stack:
        folder = Path(name)
        ports = {"page": free_port(), "broker": free_port(), "nowhere": free_port()}
        (folder / "gateway.toml").write_text(_CONFIG.format(**ports))
        times = _fill(folder / "device", ports["broker"], round(hours * 3600_000 / _PERIOD_MS))
        devices.admit(folder / "data", DEVICE, folder / "device")
        gateway = rig.start(stack, "edge", "run", str(folder / "gateway.toml"), output=None)
        _wait_for(ports["page"], 0)
        started = time.monotonic()
        line = ["--board", "kerb-wearable", "--id", DEVICE, "--broker", f"127.0.0.1:{ports['broker']}"]
        line += ["--state", str(folder / "device"), "--journal-kb", str(_JOURNAL_KB)]
        device = rig.start(stack, "hardware.sim.device", *line, output=_NOWHERE)
        _wait_for(ports["page"], len(times))
        _wait_released(folder / "device" / "journal.flash")
        replay_s = time.monotonic() - started
        device.kill()
        gateway.terminate()
        gateway.wait(20)
        found = _committed(folder / "data" / "outbox.db", set(times))
        return {
            "packs": len(times),
            "replay_s": round(replay_s, 1),
            "twice": len(found) - len(set(found)),
            "missing": len(set(times) - set(found)),
            "out_of_order": sum(after < before for before, after in pairwise(found)),
        }


def _wait_for(page: int, readings: int) -> None:
    """Until the gateway has read so many."""
    until = time.monotonic() + _LIMIT_S
    while time.monotonic() < until:
        time.sleep(0.1)
        try:
            if rig.read(page) >= readings:
                return
        except OSError:
            continue  # it has not begun yet
    raise SystemExit(f"{readings} readings were not there within {_LIMIT_S:g} s")


def _wait_released(flash: Path) -> None:
    """Until the device has let go of what it was filled with, and holds its newest epoch alone."""
    until = time.monotonic() + _LIMIT_S
    while time.monotonic() < until:
        sectors = flash.stat().st_size // SECTOR_BYTES
        epochs = Journal(NorFlash(sectors, image=flash.read_bytes())).epochs()
        if len(epochs) <= 1:
            return
        time.sleep(0.2)
    raise SystemExit(f"the device still held its old packs after {_LIMIT_S:g} s")


def _fill(state: Path, port: int, count: int) -> list[int]:
    """A device that has been offline: its state, and the times of what it holds."""
    options: dict[str, Any] = {"device": DEVICE, "host": "127.0.0.1", "port": port}
    prepare(state, board="kerb-wearable", **options, recording=0, journal_kb=_JOURNAL_KB)
    flash = FileFlash(str(state / "journal.flash"))
    journal = Journal(flash)
    journal.open(Epochs(str(state), _Hal()).next())  # type: ignore[arg-type]  # it needs no more of a port
    last_ms = int(time.time() * 1000) - _PERIOD_MS
    times = [last_ms - _PERIOD_MS * number for number in range(count)][::-1]
    for number, time_ms in enumerate(times):
        value = reading(_METRIC, 60 + number % 40, "/min", time_ms=time_ms)
        journal.append(senml.encode_body([value], device=DEVICE, wall_clock=True).encode(), 1)
    flash.close()
    return times


def _committed(outbox: Path, wanted: set[int]) -> list[int]:
    """The times of the readings in the outbox that were wanted, in the order of its packs."""
    copy = outbox.with_name("copy.db")
    shutil.copy(outbox, copy)
    file = OutboxFile(copy, max_bytes=1 << 30)
    [alias] = [alias for alias, thing, metric, _ in file.streams() if (thing, metric) == (DEVICE, _METRIC)]
    found: list[int] = []
    for held in file.held(BULK):
        for seq in range(held.first, held.last + 1):
            data = file.body(BULK, held.epoch, seq, seq)
            if data is not None:
                columns = pack.decode_body(inflate(data)).columns
                found += [at for column in columns if column.alias == alias for at in column.times_ms if at in wanted]
    file.close()
    return found
