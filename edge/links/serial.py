"""The serial link: one device on a serial port that talks by itself, as a GPS receiver does, or when it is asked."""

import asyncio
import os
from collections import deque
from contextlib import closing, suppress
from typing import TYPE_CHECKING

from edge import config
from edge.errors import ActionFailed, ActionRefused, DeviceError, LinkError
from edge.links.backoff import Backoff
from edge.links.base import Attached, Clock, Intake, Surroundings
from edge.links.condition import Condition
from edge.links.serial_command import encoded
from edge.links.serial_port import SerialPort
from edge.links.serial_talk import Talk, talk_of
from hardware.catalogue import Command
from protocols.reading import BAD_TIMEOUT, Reading

if TYPE_CHECKING:
    from protocols.reading import Value

ANSWER_S = 2.0  # within which a device answers a command
REQUEST_S = 0.5  # for so long after its request a device is told nothing else, lest the two answers run together
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

    A device from which no whole sentence or frame comes for `silence_s`, by default its model's, is offline.
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
        silence_s: float | None = None,
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
        self._silence_s = self._serial.silence_s if silence_s is None else silence_s
        self._backoff = backoff or Backoff(first_s=0.25, most_s=5.0)
        self._condition = Condition(device, intake)
        self._fd: int | None = None  # of the open port
        self._awaited: tuple[bytes, asyncio.Future[None]] | None = None  # how the answer to a command begins
        self._talking = asyncio.Lock()  # to the device: a request or a command, and its answer
        self._heard = asyncio.Event()

    async def run(self) -> None:
        """Serve the port until cancelled; when it ends or cannot be opened, try again, ever less often."""
        while True:
            try:
                settings = self._serial
                with closing(
                    SerialPort(
                        self.name,
                        self._port,
                        baud=settings.baud,
                        parity=settings.parity,
                        stop_bits=settings.stop_bits,
                    )
                ) as port:
                    await self._listen(port.fileno())
            except LinkError as error:
                self._intake.count("port_failures", self._device.thing)
                self._gone(error.reason)
            await asyncio.sleep(self._backoff.next_s())

    async def act(self, thing: str, command: Command, value: "Value") -> "Value":
        """Send a command's frame; see edge.links.base.Link."""
        if command.frame is None:
            raise ActionRefused(thing, "the command sends no frame")
        frame = encoded(thing, command, value, self._serial)
        async with self._talking:
            if self._fd is None:
                raise ActionRefused(thing, f"{self._port} is not open")
            answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            if command.answer is not None:
                self._awaited = (bytes.fromhex(command.answer), answer)
            try:
                if os.write(self._fd, frame) != len(frame):
                    raise ActionFailed(thing, "the port took a part of it only")
                if command.answer is not None:
                    async with asyncio.timeout(ANSWER_S):
                        await answer
            except TimeoutError as error:
                raise ActionFailed(thing, f"no answer within {ANSWER_S:g} s; it may have been carried out") from error
            except OSError as error:
                raise ActionFailed(thing, f"{error}; it may have been carried out") from error
            finally:
                self._awaited = None
        return None

    async def _listen(self, fd: int) -> None:
        loop = asyncio.get_running_loop()
        line = _Line(fd, self._clock)
        talk = talk_of(self._device.model)
        loop.add_reader(fd, line.on_readable)
        self._fd = fd
        asking = asyncio.create_task(self._ask(fd), name=f"{self.name}: ask") if self._serial.request else None
        heard_s = loop.time()
        if not self._silence_s:
            self._condition.waiting("speaks when it has something to say")
        try:
            while True:
                try:
                    async with asyncio.timeout_at(heard_s + self._silence_s if self._silence_s else None):
                        chunks = await line.next()
                except TimeoutError:
                    self._gone(f"no sentence or frame for {self._silence_s:g} s")
                    heard_s = loop.time()
                    continue
                if any([self._take(talk, chunk, time_ms) for time_ms, chunk in chunks]):
                    heard_s = loop.time()
                    self._heard.set()
                    self._backoff.reset()
                    self._condition.online()
                self._count(talk, line)
        except OSError as error:
            raise LinkError(self.name, f"{self._port}: {error}") from error
        finally:
            self._fd = None
            if asking is not None:
                asking.cancel()
            loop.remove_reader(fd)

    async def _ask(self, fd: int) -> None:
        """Send the request of a device that speaks only when asked, at its period."""
        loop = asyncio.get_running_loop()
        request, period_s = bytes.fromhex(self._serial.request or ""), self._serial.period_ms / 1000
        due_s = loop.time()
        while True:
            async with self._talking:
                self._heard.clear()
                try:
                    os.write(fd, request)
                except BlockingIOError:
                    self._intake.count("overruns", self._device.thing)  # the port takes no more: the next one may pass
                except OSError:
                    return  # the port has ended, as its reader notices
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(REQUEST_S, period_s)):
                        await self._heard.wait()
            due_s = max(due_s + period_s, loop.time())
            await asyncio.sleep(due_s - loop.time())

    def _take(self, talk: Talk, chunk: bytes, time_ms: int) -> bool:
        """Take what came; whether something of it was whole."""
        found = talk.feed(chunk)
        for raw, readings in found:
            if self._awaited is not None and raw.startswith(self._awaited[0]) and not self._awaited[1].done():
                self._awaited[1].set_result(None)
            elif readings:
                self._condition.heard([_at(each, time_ms) for each in readings])
        return bool(found)

    def _gone(self, reason: str) -> None:
        self._condition.failed(self._device.model.metrics, BAD_TIMEOUT, self._clock())
        self._condition.gone(reason)

    def _count(self, talk: Talk, line: _Line) -> None:
        for counter, by in (+talk.counts).items():
            self._intake.count(counter, self._device.thing, by)
        talk.counts.clear()
        if line.overruns:
            self._intake.count("overruns", self._device.thing, line.overruns)
            line.overruns = 0


def _at(each: Reading, time_ms: int) -> Reading:
    return each._replace(time_ms=time_ms)
