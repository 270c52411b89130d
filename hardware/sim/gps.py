"""A GPS receiver on a pseudo-terminal: `python -m hardware.sim.gps --link PATH [--seed N] [--period S]`.

PATH becomes a symbolic link to the port, which the gateway opens like any other. The receiver walks round a block in a
park in Shanghai and says so in RMC and GGA, at the speed of a 9600 baud line, with the damage that a long cable does.
"""

import argparse
import os
import signal
import sys
import time
import tty
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from math import cos, radians
from pathlib import Path
from random import Random
from typing import NamedTuple

from protocols.nmea import encode_gga, encode_rmc
from protocols.reading import DecimalFraction

BYTES_PER_SECOND = 960  # 9600 baud, 8N1
CHUNK = 48  # bytes written at once, as a UART's buffer would hand them over
METRES_PER_DEGREE = 111_320.0  # of latitude

SOUTH, WEST = 31.2222, 121.4581  # the block's corner, degrees
EAST_M, NORTH_M = 180.0, 120.0  # its sides
WALK_M_S = 1.4
JITTER_M = 0.4  # standard deviation of a fix
EVERY = 5  # about one fix in so many comes with damage


class Fix(NamedTuple):
    """Where the receiver thinks it is: degrees, metres, metres per second."""

    latitude: float
    longitude: float
    altitude: float
    speed: float
    course: float
    satellites: int
    hdop: float


def fix_at(seconds: float, random: Random) -> Fix:
    """The fix after `seconds` of walking round the block, anticlockwise from its south-west corner."""
    way = seconds * WALK_M_S % (2 * (EAST_M + NORTH_M))
    sides = ((EAST_M, 1, 0, 90.0), (NORTH_M, 0, 1, 0.0), (EAST_M, -1, 0, 270.0), (NORTH_M, 0, -1, 180.0))
    east = north = course = 0.0
    for length, to_east, to_north, heading in sides:
        step = min(way, length)
        east, north, course = east + step * to_east, north + step * to_north, heading
        way -= step
        if way <= 0:
            break
    east, north = east + random.gauss(0, JITTER_M), north + random.gauss(0, JITTER_M)
    return Fix(
        latitude=SOUTH + north / METRES_PER_DEGREE,
        longitude=WEST + east / (METRES_PER_DEGREE * cos(radians(SOUTH))),
        altitude=12.0 + random.gauss(0, 0.3),
        speed=max(0.0, WALK_M_S + random.gauss(0, 0.05)),
        course=(course + random.gauss(0, 1.5)) % 360,
        satellites=random.randint(8, 12),
        hdop=round(random.uniform(0.8, 1.3), 1),
    )


def sentences_of(fix: Fix, unix_ms: int) -> tuple[bytes, bytes]:
    """RMC and GGA of one second, with their line ends."""
    at = datetime.fromtimestamp(unix_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    latitude, longitude = _decimal(fix.latitude, 7), _decimal(fix.longitude, 7)
    rmc = encode_rmc(at, latitude, longitude, speed=_decimal(fix.speed, 2), course=_decimal(fix.course, 1))
    gga = encode_gga(
        at,
        latitude,
        longitude,
        altitude=_decimal(fix.altitude, 1),
        satellites=fix.satellites,
        hdop=_decimal(fix.hdop, 1),
    )
    return rmc.encode(), gga.encode()


def _decimal(value: float, places: int) -> DecimalFraction:
    return DecimalFraction(round(value * 10**places), -places)


def garbage(_fix: bytes, random: Random) -> bytes:
    """Bytes of any kind, as a loose contact makes them."""
    return random.randbytes(random.randint(5, 40))


def wrong_checksum(sentence: bytes, _random: Random) -> bytes:
    """A sentence whose position has lost a digit's truth while its checksum stayed."""
    return sentence.replace(b",31", b",71", 1)


def cut_in_half(sentence: bytes, _random: Random) -> bytes:
    """The first half of a sentence; the next one follows at once."""
    return sentence[: len(sentence) // 2]


DAMAGES: tuple[Callable[[bytes, Random], bytes], ...] = (garbage, wrong_checksum, cut_in_half)


def bursts(seed: int, clock: Callable[[], int], period_s: float = 1.0) -> Iterator[bytes]:
    """What the receiver says in each period, without end; with the same seed and clock the same bytes."""
    random = Random(seed)
    seconds = 0.0
    while True:
        rmc, gga = sentences_of(fix_at(seconds, random), clock())
        damage = random.choice(DAMAGES)(rmc, random) if random.randrange(EVERY) == 0 else b""
        yield damage + rmc + gga
        seconds += period_s


class Port:
    """A pseudo-terminal that looks like a serial port with nobody, somebody, or one after another listening."""

    def __init__(self, link: Path):
        self.link = link
        # The far end stays open here too: else the near end would fail whenever the gateway closes the port.
        self._near, self._far = os.openpty()
        tty.setraw(self._far)
        os.set_blocking(self._near, False)
        link.unlink(missing_ok=True)
        link.symlink_to(os.ttyname(self._far))

    def write(self, data: bytes) -> None:
        """Put bytes on the line; what the buffer cannot hold because nobody reads is lost, as on a real line."""
        try:
            os.write(self._near, data)
        except BlockingIOError:
            return

    def close(self) -> None:
        """Pull the plug: whoever reads the port gets an error, and its name is gone."""
        self.link.unlink(missing_ok=True)
        os.close(self._near)
        os.close(self._far)


def run(port: Port, *, seed: int, period_s: float) -> None:
    """Talk for ever, one burst each `period_s`."""
    due_s = time.monotonic()
    for burst in bursts(seed, lambda: time.time_ns() // 1_000_000, period_s):
        sent_s = due_s
        for at in range(0, len(burst), CHUNK):
            chunk = burst[at : at + CHUNK]
            port.write(chunk)
            sent_s += len(chunk) / BYTES_PER_SECOND
            time.sleep(max(0.0, sent_s - time.monotonic()))
        due_s = max(due_s + period_s, sent_s)
        time.sleep(max(0.0, due_s - time.monotonic()))


def main() -> int:
    """The command line; 2 when the link cannot be made."""
    parser = argparse.ArgumentParser(prog="gps", description="A simulated GPS receiver on a pseudo-terminal.")
    parser.add_argument("--link", type=Path, required=True, help="path at which the port appears")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--period", type=float, default=1.0, help="seconds between two fixes")
    options = parser.parse_args()
    try:
        port = Port(options.link)
    except OSError as error:
        print(f"gps: {error}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    print(f"gps receiver on {options.link}", flush=True)
    try:
        run(port, seed=options.seed, period_s=options.period)
    except KeyboardInterrupt:
        return 0
    finally:
        port.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
