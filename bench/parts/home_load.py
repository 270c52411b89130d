"""A thousand homes' gateways in one process: the real packs and the real custody, on few connections.

`python -m bench.parts.home_load DATA PORT CONNECTIONS HOMES SECONDS` logs in with the certificate load.pem in DATA. It
prints "ready" when all homes are announced, sends for so many seconds at the pace of the readings' times, waits until
the hub has stored all, and prints a JSON object. The few MQTT frames are made by hand: a client library costs more than
all the rest.
"""

import asyncio
import json
import struct
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from bench.parts import homes
from bench.parts.receiver import percentile
from hub.authority import Authority
from protocols import cursor, topics
from protocols.custody import Sender, epoch_number
from runtime.tls import client_tls

_TICK_S = 0.01
_SETTLE_S = 60.0
_INCARNATION = 7
_KEEPALIVE_S = 60


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def frame(head: int, body: bytes) -> bytes:
    """An MQTT packet (3.1.1, section 2.2): first byte, the length in groups of seven bits, the rest."""
    length, digits = len(body), bytearray()
    while True:
        length, digit = length >> 7, length & 127
        digits.append(digit | (128 if length else 0))
        if not length:
            return bytes([head]) + digits + body


def _text(text: str) -> bytes:
    return struct.pack(">H", len(text)) + text.encode()


class Connection:
    """One MQTT connection. `heard` takes (topic, payload) of each message that comes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, data: Path, port: int, number: int) -> "Connection":
        """Connect and log in."""
        tls = client_tls(ca=Authority(data).file, certificate=data / "load.pem")
        made = cls(*await asyncio.open_connection("127.0.0.1", port, ssl=tls))
        made.write(0x10, _text("MQTT") + bytes([4, 2]) + struct.pack(">H", _KEEPALIVE_S) + _text(f"load-{number}"))
        await made._read()
        return made

    def write(self, head: int, body: bytes) -> None:
        """Send a packet."""
        self._writer.write(frame(head, body))

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """With QoS 0."""
        self.write(0x31 if retain else 0x30, _text(topic) + payload)

    def subscribe(self, topic: str) -> None:
        """With QoS 0."""
        self.write(0x82, b"\x00\x01" + _text(topic) + b"\x00")

    async def drained(self) -> None:
        """Until the connection has taken what was written."""
        await self._writer.drain()

    async def publications(self) -> Any:
        """(topic, payload) of what comes."""
        while True:
            head, body = await self._read()
            if head & 0xF0 == 0x30:
                end = 2 + struct.unpack_from(">H", body)[0]
                yield body[2:end].decode(), body[end:]

    async def _read(self) -> tuple[int, bytes]:
        head = (await self._reader.readexactly(1))[0]
        length = shift = 0
        while True:
            digit = (await self._reader.readexactly(1))[0]
            length |= (digit & 127) << shift
            shift += 7
            if digit < 128:
                return head, await self._reader.readexactly(length)


class Home:
    """One gateway with the bulk lane."""

    def __init__(self, number: int, connection: Connection, sent: list[homes.Sent]):
        self.connection = connection
        self._number = number
        self._sent = sent
        self._epoch = epoch_number(_INCARNATION, 1, number)
        self._sender = Sender()
        self._sender.open(self._epoch)
        self._topic = topics.up(topics.GATEWAY, homes.name_of(number), topics.BULK)
        self.made = 0  # packs
        self.stored = 0  # packs
        self.resent = 0

    def begin(self, time_ms: int) -> None:
        """Say who it is."""
        name = homes.name_of(self._number)
        self.connection.subscribe(topics.cursor(topics.GATEWAY, name, topics.BULK))
        born = homes.birth(self._number, _INCARNATION, time_ms)
        self.connection.publish(topics.birth(topics.GATEWAY, name), born, retain=True)
        self._sender.connected()

    def make(self) -> None:
        """The next pack is made and sent."""
        self.made += 1
        self._sender.appended(self._epoch, self.made)
        self.send(_now_ms())

    def send(self, now_ms: int) -> None:
        """Send what is due, for the first time or again."""
        for header in self._sender.due(now_ms):
            self.resent += header.seq < self.made
            body = self._sent[header.seq - 1].body
            self.connection.publish(self._topic, homes.message(self._number, header, body))

    def hear(self, payload: bytes, ages_ms: Counter[int]) -> None:
        """A cursor has come."""
        now_ms = _now_ms()
        for release in self._sender.cursor(*cursor.decode(payload), now_ms):
            for one in self._sent[self.stored : release.upto]:
                ages_ms[now_ms - one.made_ms] += one.readings
            self.stored = release.upto
        self.send(now_ms)


class Load:
    """All homes."""

    def __init__(self, connections: list[Connection], count: int, seconds: float, start_ms: int):
        end_ms = start_ms + round(seconds * 1000)
        kinds = [homes.packs(kind, start_ms, end_ms) for kind in range(min(homes.KINDS, count))]
        made = [Home(n, connections[n % len(connections)], kinds[n % homes.KINDS]) for n in range(count)]
        self._homes = {homes.name_of(number): home for number, home in enumerate(made)}
        self._kinds = [(sent, made[kind :: homes.KINDS]) for kind, sent in enumerate(kinds)]
        self._connections = connections
        self._ages_ms: Counter[int] = Counter()
        self._end_ms = end_ms
        self._start_ms = start_ms

    async def run(self) -> dict[str, Any]:
        """Send everything at its time, and wait until it is stored."""
        listening = [asyncio.create_task(self._listen(connection)) for connection in self._connections]
        due = sorted((one.due_ms, kind) for kind, (sent, _) in enumerate(self._kinds) for one in sent)
        at, swept_ms = 0, 0
        give_up_ms = self._end_ms + round(_SETTLE_S * 1000)
        while (now_ms := _now_ms()) < give_up_ms and not (at == len(due) and self._all_stored()):
            while at < len(due) and due[at][0] <= now_ms:
                for home in self._kinds[due[at][1]][1]:
                    home.make()
                at += 1
            if now_ms - swept_ms > 1000:
                swept_ms = now_ms
                for home in self._homes.values():
                    home.send(now_ms)
            for connection in self._connections:
                await connection.drained()
            await asyncio.sleep(_TICK_S)
        for task in listening:
            task.cancel()
        await asyncio.gather(*listening, return_exceptions=True)
        return self._result()

    async def begin(self) -> None:
        """Announce all homes; the broker is given time to take them."""
        if _now_ms() > self._start_ms - 2 * len(self._homes):
            raise SystemExit("the machine is too busy: the packs were not made before their time")
        for home in self._homes.values():
            home.begin(self._start_ms)
            await home.connection.drained()
            await asyncio.sleep(0.002)

    def _all_stored(self) -> bool:
        return all(home.stored == home.made for home in self._homes.values())

    async def _listen(self, connection: Connection) -> None:
        async for topic, payload in connection.publications():
            self._homes[topics.parse(topic).sender].hear(payload, self._ages_ms)

    def _result(self) -> dict[str, Any]:
        packs = sum(home.made for home in self._homes.values())
        readings = sum(one.readings * len(group) for sent, group in self._kinds for one in sent)
        seconds = (self._end_ms - self._start_ms) / 1000
        return {
            "gateways": len(self._homes),
            "seconds": seconds,
            "readings_per_s": round(readings / seconds),
            "packs_per_s": round(packs / seconds),
            "made": readings,
            "packs": packs,
            "resent": sum(home.resent for home in self._homes.values()),
            "unheard": sum(home.made - home.stored for home in self._homes.values()),
            "p50_ms": percentile(self._ages_ms, 0.5),
            "p99_ms": percentile(self._ages_ms, 0.99),
            "max_ms": max(self._ages_ms, default=None),
            "load_cpu_s": round(time.process_time(), 1),
        }


async def _main(data: Path, port: int, connections: int, count: int, seconds: float) -> None:
    opened = [await Connection.open(data, port, number) for number in range(connections)]
    started = time.monotonic()
    homes.packs(0, 0, 10_000)
    spent_s = (time.monotonic() - started) * seconds / 10 * min(homes.KINDS, count)
    load = Load(opened, count, seconds, _now_ms() + round(1000 * (5 + 2 * spent_s + 0.004 * count)))
    await load.begin()
    print("ready", flush=True)
    print(json.dumps(await load.run()), flush=True)


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1]), *map(int, sys.argv[2:5]), float(sys.argv[5])))  # type: ignore[call-arg]
