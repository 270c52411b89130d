"""kerb demo: a whole block on this machine, watched from one screen or reported as JSON."""

import argparse
import json
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from hardware.sim.block import Block, BlockError
from hardware.sim.report import Report, balanced, report
from hardware.sim.screen import PlainScreen, RichScreen, Screen, word
from runtime.process import port_in_use

_DRAIN_S = 20.0


class _Stopped(Exception):
    """Ctrl-C, SIGTERM, or the end of the time."""


def main() -> int:
    """The command line. Exit 0: done; 1: with --report, the equation fails or a device is missing; 2: cannot run."""
    parser = argparse.ArgumentParser(prog="kerb demo", description="A whole block on this machine.")
    parser.add_argument("--seconds", type=_seconds, help="stop by itself after so long, without a screen")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write what became of every reading, as JSON")
    parser.add_argument("--port", type=_port, default=8080, help="the port of the hub's page (default 8080)")
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="keep the block's files here instead of a temporary folder"
    )
    options = parser.parse_args()
    try:
        if port_in_use("127.0.0.1", options.port):
            raise BlockError(f"port {options.port} is in use; stop what uses it, or give another one with --port")
        if options.report:
            _check_writable(options.report)
        with _folder(options.keep) as folder:
            return _run(Block(folder, options.port), options.seconds, options.report)
    except (BlockError, OSError) as error:
        print(f"kerb demo: {error}", file=sys.stderr)
        return 2


def _seconds(text: str) -> float:
    seconds = float(text)
    if seconds <= 0:
        raise argparse.ArgumentTypeError(f"{text} is not more than 0")
    return seconds


def _port(text: str) -> int:
    port = int(text)
    if not 0 < port < 65536:
        raise argparse.ArgumentTypeError(f"{text} is not between 1 and 65535")
    return port


def _run(block: Block, seconds: float | None, report_file: Path | None) -> int:
    screen: Screen = RichScreen(block) if sys.stdout.isatty() and seconds is None else PlainScreen(block)
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    try:
        with screen:
            try:
                block.prepare()
                _start(block, screen)
                _watch(block, screen, seconds)
            except _Stopped:
                screen.say(word("stopping"))
            if report_file is None:
                return 0
            made = _settle(block, screen)
    finally:
        block.stop()
    report_file.write_text(json.dumps(made, indent=2) + "\n")
    problems = balanced(made)
    for problem in problems:
        print(f"kerb demo: {problem}", file=sys.stderr)
    return 1 if problems else 0


def _start(block: Block, screen: Screen) -> None:
    screen.say(word("starting {}", "hub"))
    block.start("hub")
    for name in block.children:  # devices need not wait for anybody: that is the point of them
        if name not in ("hub", "gateway"):
            screen.say(word("starting {}", name))
            block.start(name)
    block.enrol()  # once enrolled, a gateway need not wait for the hub either
    screen.say(word("starting {}", "gateway"))
    block.start("gateway")
    screen.say(word("page {}", f"http://127.0.0.1:{block.hub_port}"))


def _watch(block: Block, screen: Screen, seconds: float | None) -> None:
    end = None if seconds is None else time.monotonic() + seconds
    while end is None or time.monotonic() < end:
        for name in block.restart_dead():
            screen.say(f"{word('restarted {}', name)}\n{block.tail(name, 5)}")
        screen.show(block.gateway(), block.hub("/api/v1/custody"))
        time.sleep(1.0 if end is None else max(0.0, min(1.0, end - time.monotonic())))


def _settle(block: Block, screen: Screen) -> Report:
    """End the devices, let what is under way arrive, and take the account of it."""
    screen.say(word("settling"))
    block.stop_devices()
    deadline = time.monotonic() + _DRAIN_S
    while True:
        made = report(block.gateway(), block.hub("/api/v1/custody"))
        if time.monotonic() > deadline or not (balanced(made) or made["total"]["buffered"]):
            return made
        time.sleep(0.25)


def _stop(signal_number: int, frame: FrameType | None) -> None:
    raise _Stopped


def _check_writable(path: Path) -> None:
    if not path.absolute().parent.is_dir():
        raise BlockError(f"the folder of {path} does not exist; make it first")


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        yield keep.absolute()
        return
    with tempfile.TemporaryDirectory(prefix="kerb-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


if __name__ == "__main__":
    sys.exit(main())
