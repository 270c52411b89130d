"""The serial link: one device that talks by itself over a serial port, as a GPS receiver does (NMEA 0183)."""

import asyncio
import os
import termios
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import serial

from edge import config
from edge.errors import DeviceError, LinkError
from edge.links.backoff import Backoff
from edge.links.base import Attached, Clock, Intake, Surroundings
from edge.links.condition import Condition
from edge.links.nmea_lines import NmeaLines
from protocols.errors import ChecksumError, DecodeError
from protocols.nmea import decode, parse
from protocols.reading import BAD_TIMEOUT

MOST_CHUNKS = 64  # more than the parser ever lets pile up; when it is full the oldest bytes are dropped


class _Line:
    """The bytes that came in, with the time they came; the reader callback only stores and signals."""

    def __init__(self, fd: int, clock: Clock):
        self._fd = fd
        self._clock = clock
        self._chunks: deque[tuple[int, bytes]] = deque(maxlen=MOST_CHUNKS)
        self._news = asyncio.Event()
        self._ended = ""
        self.overruns = 0

    def on_readable(self) -> None:
        """Store what there is."""
        try:
            chunk = os.read(self._fd, 4096)
        except BlockingIOError:
            return
        except OSError as error:
            chunk, self._ended = b"", error.strerror or str(error)
        if chunk:
            self.overruns += len(self._chunks) == MOST_CHUNKS
            self._chunks.append((self._clock(), chunk))
        else:
            self._ended = self._ended or "unplugged"
            asyncio.get_running_loop().remove_reader(self._fd)
        self._news.set()

    async def next(self) -> list[tuple[int, bytes]]:
        """All that came since the last time, oldest first. Raises OSError when the port has ended."""
        await self._news.wait()
        self._news.clear()
        chunks = list(self._chunks)
        self._chunks.clear()
        if not chunks and self._ended:
            raise OSError(self._ended)
        if self._ended:
            self._news.set()
        return chunks


def make_link(declared: config.SerialLink, surroundings: Surroundings) -> "SerialLink":
    """The link as the config declares it."""
    (device,) = declared.devices
    attached = Attached(device.thing, device.declared, device.address)
    return SerialLink(declared.name, declared.port, attached, surroundings.intake, surroundings.clock)


class SerialLink:
    """One device on one port. The port is opened again whenever it ends, so a by-id path survives unplugging.

    A device from which no whole sentence comes for `silence_s` is offline.
    Raises DeviceError at construction for a model that does not talk over a serial port.
    """

    def __init__(
        self,
        name: str,
        port: str,
        device: Attached,
        intake: Intake,
        clock: Clock,
        *,
        silence_s: float = 5.0,
        backoff: Backoff | None = None,
    ):
        if device.model.serial is None:
            raise DeviceError(name, device.thing, f"{device.model.device.model} is no serial model")
        self.name = name
        self._port = port
        self._serial = device.model.serial
        self._device = device
        self._intake = intake
        self._clock = clock
        self._silence_s = silence_s
        self._backoff = backoff or Backoff(first_s=0.25, most_s=5.0)
        self._condition = Condition(device, intake)
        self._metrics: dict[str, set[str]] = {}  # sentence type -> the metrics that are taken from it
        for metric, declared in device.model.metrics.items():
            if declared.sentence is not None:
                self._metrics.setdefault(declared.sentence, set()).add(metric)

    async def run(self) -> None:
        """Serve the port until cancelled; when it ends or cannot be opened, try again, ever less often."""
        while True:
            try:
                with self._opened() as fd:
                    await self._listen(fd)
            except LinkError as error:
                self._intake.count("port_failures", self._device.thing)
                self._gone(error.reason)
            await asyncio.sleep(self._backoff.next_s())

    @contextmanager
    def _opened(self) -> Iterator[int]:
        """The port's file descriptor, non-blocking, with what was waiting in it thrown away. Raises LinkError."""
        try:
            port = serial.Serial(self._port, self._serial.baud, timeout=0, exclusive=True)
        except (OSError, ValueError, termios.error) as error:
            raise LinkError(self.name, f"cannot open {self._port}: {error}") from error
        try:
            yield port.fileno()
        finally:
            port.close()

    async def _listen(self, fd: int) -> None:
        loop = asyncio.get_running_loop()
        line = _Line(fd, self._clock)
        lines = NmeaLines()
        loop.add_reader(fd, line.on_readable)
        heard_s = loop.time()
        try:
            while True:
                try:
                    async with asyncio.timeout_at(heard_s + self._silence_s):
                        chunks = await line.next()
                except TimeoutError:
                    self._gone(f"no sentence for {self._silence_s:g} s")
                    heard_s = loop.time()
                    continue
                whole = [self._sentence(each, time_ms) for time_ms, chunk in chunks for each in lines.feed(chunk)]
                if any(whole):
                    heard_s = loop.time()
                    self._backoff.reset()
                    self._condition.online()
                self._count(lines, line)
        except OSError as error:
            raise LinkError(self.name, f"{self._port}: {error}") from error
        finally:
            loop.remove_reader(fd)

    def _sentence(self, text: bytes, time_ms: int) -> bool:
        """Take one sentence's readings; whether it was whole."""
        try:
            sentence = parse(text)
            wanted = self._metrics.get(sentence.type)
            readings = decode(sentence) if wanted else []
        except ChecksumError:
            self._intake.count("checksum_errors", self._device.thing)
            return False
        except DecodeError:
            self._intake.count("decode_errors", self._device.thing)
            return False
        self._condition.heard([each._replace(time_ms=time_ms) for each in readings if wanted and each.metric in wanted])
        return True

    def _gone(self, reason: str) -> None:
        self._condition.failed(self._device.model.metrics, BAD_TIMEOUT, self._clock())
        self._condition.gone(reason)

    def _count(self, lines: NmeaLines, line: _Line) -> None:
        for counter, by in (+lines.counts).items():
            self._intake.count(counter, self._device.thing, by)
        lines.counts.clear()
        if line.overruns:
            self._intake.count("overruns", self._device.thing, line.overruns)
            line.overruns = 0
