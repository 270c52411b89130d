"""Where `kerb edge scan` is told to look. Apart from what does it, which takes a second to import."""

import argparse
from pathlib import Path

BY_ID = Path("/dev/serial/by-id")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command; a place may be given several times."""
    add = parser.add_argument
    add("--tcp", action="append", default=[], type=_host, metavar="HOST[:PORT]", help="a Modbus TCP device or gateway")
    add("--rtu-tcp", action="append", default=[], type=_host, metavar="HOST:PORT", help="a serial device server")
    add("--serial", action="append", default=[], metavar="PORT", help="a port; without any place: all in " + str(BY_ID))
    add("--ble", action="append", default=[], metavar="ADAPTER", help="bluez, or hci: and a transport")
    add("--units", type=_numbers, default=list(range(1, 248)), metavar="A-B,C", help="unit ids (default 1-247)")
    add(
        "--bauds", type=_numbers, default=[9600, 19200, 38400, 115200, 4800, 2400], metavar="N,N", help="to try in turn"
    )
    add(
        "--parities",
        type=_parities,
        default=["none", "even"],
        metavar="P,P",
        help="none, even, odd (default none,even)",
    )
    add("--timeout-ms", type=int, default=200, metavar="MS", help="for a unit's answer to begin (default 200)")
    add("--seconds", type=float, default=10.0, help="how long to listen for Bluetooth (default 10)")
    add("--models", type=Path, metavar="FOLDER", help="device files of the site's own")


def _host(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        return text, 502
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise argparse.ArgumentTypeError(f"{text}: {port} is no port")
    return host, int(port)


def _numbers(text: str) -> list[int]:
    """Numbers and ranges of them."""
    numbers: list[int] = []
    try:
        for part in text.split(","):
            first, _, last = part.partition("-")
            numbers += range(int(first), int(last or first) + 1)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is no list of numbers such as 1-32,100") from None
    return numbers


def _parities(text: str) -> list[str]:
    parities = text.split(",")
    if not set(parities) <= {"none", "even", "odd"}:
        raise argparse.ArgumentTypeError(f"{text}: a parity is none, even or odd")
    return parities
