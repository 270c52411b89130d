"""Modbus RTU slaves on one end of a pseudo-terminal, in the time that a real line of their speed would take.

As a program: `python -m hardware.sim.rtu --units 32 --dead 25,26` prints the port's name; SIGUSR1 revives the dead.
"""

import argparse
import asyncio
import os
import random
import signal
import tty
from collections.abc import Callable

from protocols.errors import DecodeError, TruncatedError
from protocols.modbus import exception_response, parse_request, parse_rtu, read_response, rtu, rtu_request_size

_CHARACTER_BITS = 11

Answer = Callable[[int, bytes], bytes | None]  # (unit, request PDU) -> response PDU, or None from one who is silent


class RtuBus:
    """The slaves' end of a line. `answer` is asked for each whole request; `port` is what a master opens.

    Bytes of a broken request are dropped after a silence, as slaves do. Times are those of `baud`.
    """

    def __init__(self, answer: Answer, *, baud: int = 19_200, turnaround_s: float = 0.003):
        self.requests = 0
        self._answer = answer
        self._character_s = _CHARACTER_BITS / baud
        self._turnaround_s = turnaround_s
        self._input = bytearray()
        self._silence: asyncio.TimerHandle | None = None
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.port = os.ttyname(self._slave)

    def __enter__(self) -> "RtuBus":
        asyncio.get_running_loop().add_reader(self._master, self._readable)
        return self

    def __exit__(self, *_error: object) -> None:
        asyncio.get_running_loop().remove_reader(self._master)
        if self._silence:
            self._silence.cancel()
        os.close(self._master)
        os.close(self._slave)
        self._master = -1

    def _readable(self) -> None:
        loop = asyncio.get_running_loop()
        self._input += os.read(self._master, 4096)
        if self._silence:
            self._silence.cancel()
        self._silence = loop.call_later(0.02, self._input.clear)
        try:
            size = rtu_request_size(bytes(self._input))
            if size is None or len(self._input) < size:
                return
            frame = bytes(self._input)
            unit, pdu = parse_rtu(frame[:size])
        except DecodeError:
            return
        self._input.clear()
        self.requests += 1
        response = self._answer(unit, pdu)
        if response is not None:
            sent = rtu(unit, response)
            # The first byte when it is due, after the request's own time; and the rest at once, when the last one is.
            begin_s = (len(frame) + 1) * self._character_s + self._turnaround_s
            loop.call_later(begin_s, self.send, sent[:1])
            loop.call_later(begin_s + len(sent) * self._character_s, self.send, sent[1:])

    def send(self, data: bytes) -> None:
        """Put bytes on the line, wanted or not."""
        if self._master >= 0:
            os.write(self._master, data)


class Registers:
    """Units that each hold as many registers, read by function 3 or 4 with random values; `dead` ones are silent."""

    def __init__(self, units: set[int], registers: int, dead: set[int]):
        self.dead = dead
        self._units = units
        self._registers = registers
        self._numbers = random.Random(1)

    def __call__(self, unit: int, pdu: bytes) -> bytes | None:
        """The answer to a request."""
        if unit not in self._units or unit in self.dead:
            return None
        try:
            request = parse_request(pdu)
        except TruncatedError:
            return exception_response(pdu[0], 3)
        except DecodeError:
            return exception_response(pdu[0], 1)
        if request.function not in (3, 4) or request.address + request.quantity > self._registers:
            return exception_response(pdu[0], 2)
        return read_response(pdu[0], self._numbers.randbytes(2 * request.quantity))


async def _main(units: int, dead: set[int], registers: int, baud: int) -> None:
    stop = asyncio.Event()
    answer = Registers(set(range(1, units + 1)), registers, dead)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, answer.dead.clear)
    with RtuBus(answer, baud=baud) as bus:
        print(bus.port, flush=True)
        await stop.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--units", type=int, default=32)
    parser.add_argument("--dead", default="", help="unit ids, parted by commas")
    parser.add_argument("--registers", type=int, default=40)
    parser.add_argument("--baud", type=int, default=38_400)
    options = parser.parse_args()
    silent = {int(unit) for unit in options.dead.split(",") if unit}
    asyncio.run(_main(options.units, silent, options.registers, options.baud))
