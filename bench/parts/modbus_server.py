"""A Modbus TCP server that costs little: each unit id has the same holding registers, and no two reads are alike.

`python -m bench.parts.modbus_server --port PORT --registers COUNT [--faults SHARE]`; when it is terminated it prints
what it served as a JSON object: `requests`, `registers` (read), `writes` ({"unit/address/value": times}). A fault is
one of: the request is lost, or its answer, or the connection after it was done.
"""

import argparse
import asyncio
import contextlib
import json
import random
import signal
import struct
from collections import Counter
from typing import Protocol

_HEAD = struct.Struct(">HHHBB")  # transaction, protocol, length, unit, function
_TWO = struct.Struct(">HH")
_READS = (3, 4)
_WRITES = (5, 6)


class Served:
    """What has been asked for, over all connections."""

    def __init__(self, registers: int, faults: float):
        self.size = registers
        self.faults = faults
        self._numbers = random.Random(1)  # nothing that a compressor could make use of
        self.requests = 0
        self.registers = 0
        self.writes: Counter[str] = Counter()

    def fault(self) -> str:
        """What goes wrong with the next request; empty: nothing."""
        if not self.faults or self._numbers.random() >= self.faults:
            return ""
        return self._numbers.choice(("request", "answer", "connection"))

    def answer(self, request: bytes) -> bytes:
        """The response to one whole request."""
        transaction, _, _, unit, function = _HEAD.unpack_from(request)
        address, second = _TWO.unpack_from(request, 8)
        self.requests += 1
        if function in _READS:
            self.registers += second
            if address + second > self.size:
                return _HEAD.pack(transaction, 0, 3, unit, function | 0x80) + b"\x02"
            data = self._numbers.randbytes(2 * second)
            return _HEAD.pack(transaction, 0, 3 + len(data), unit, function) + bytes((len(data),)) + data
        if function in _WRITES:
            self.writes[f"{unit}/{address}/{second}"] += 1
            return request
        return _HEAD.pack(transaction, 0, 3, unit, function | 0x80) + b"\x01"


class Answering(Protocol):
    """Whatever answers requests, and says what goes wrong with them (empty: nothing)."""

    def fault(self) -> str: ...
    def answer(self, request: bytes) -> bytes: ...


class Connection(asyncio.Protocol):
    """One client's connection: whole requests in, answers out."""

    def __init__(self, served: Answering):
        self._served = served
        self._rest = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def abort(self) -> None:
        """End it: what has come in and is not answered never will be."""
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        at = 0
        while len(data) - at >= 12:
            end = at + 6 + int.from_bytes(data[at + 4 : at + 6], "big")
            if len(data) < end:
                break
            fault = self._served.fault()
            if fault != "request":
                answer = self._served.answer(data[at:end])
                if not fault and self._transport is not None:
                    self._transport.write(answer)
            if fault == "connection":
                self.abort()
                return
            at = end
        self._rest = data[at:]


async def _main(port: int, registers: int, faults: float) -> None:
    served = Served(registers, faults)
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    server = await loop.create_server(lambda: Connection(served), "127.0.0.1", port, backlog=1024)
    await stop.wait()
    server.close()
    with contextlib.suppress(BrokenPipeError):
        print(json.dumps({"requests": served.requests, "registers": served.registers, "writes": served.writes}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--registers", type=int, default=100)
    parser.add_argument("--faults", type=float, default=0.0)
    options = parser.parse_args()
    asyncio.run(_main(options.port, options.registers, options.faults))
