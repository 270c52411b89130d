"""A gateway for tests of the hub: real packs, the real custody Sender, the hub's broker."""

import asyncio
import contextlib
import json
import secrets
import ssl
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from hardware.catalogue import catalogue
from hub import logins
from hub.authority import Authority
from hub.locked_json import locked_json
from protocols import cursor, pack, topics
from protocols import status as statuses
from protocols.custody import Header, Sender, epoch_number
from protocols.deflated import deflate
from protocols.pack import Body
from protocols.reading import Reading
from protocols.status import Counts, Lane, Sample, Status
from runtime.mqtt import Broker, MqttError, Session, Will, keep_session
from runtime.tls import client_tls

ID = "block-1"
INCARNATION = 7
MODELS = {
    "wearable-1": "kerb-wearable",
    "cuff-1": "and-ua-651ble",
    "oximeter-1": "nonin-3230",
    "meter-1": "eastron-sdm120",
    "gps-1": "u-blox-neo-m8",
}


def aliases() -> dict[tuple[str, str], int]:
    """(thing, metric) -> alias, in the order of the models' files."""
    names = [(thing, metric) for thing, model in MODELS.items() for metric in catalogue()[model].metrics]
    return {name: alias for alias, name in enumerate(names, 1)}


def birth(
    *,
    gateway: str = ID,
    incarnation: int = INCARNATION,
    instance: str = "first",
    states: Mapping[str, str] = {},
    time_ms: int = 1,
) -> bytes:
    """The birth message of the demo's five devices."""
    things = [
        {
            "id": thing,
            "kind": catalogue()[model].device.kind,
            "model": model,
            "maker": catalogue()[model].device.maker,
            "name": catalogue()[model].device.name.model_dump(),
            "state": states.get(thing, "online"),
            "reason": "no answer" if states.get(thing) == "offline" else "",
        }
        for thing, model in MODELS.items()
    ]
    streams = []
    for (thing, metric), alias in aliases().items():
        declared = catalogue()[MODELS[thing]].metrics[metric]
        named = declared.name.model_dump()
        streams.append({"alias": alias, "thing": thing, "metric": metric, "unit": declared.unit, "name": named})
    name = {"en": "Block 1", "zh": "一号楼"}
    head = {"state": "online", "gateway": gateway, "incarnation": incarnation, "instance": instance, "name": name}
    return json.dumps({**head, "time_ms": time_ms, "things": things, "streams": streams}).encode()


def message(header: Header, body: Body) -> bytes:
    """A pack as it travels."""
    return pack.encode_header(header) + deflate(pack.encode_body(body))


def body(
    readings: Sequence[tuple[str, Reading]],
    *,
    tallies: Mapping[str, tuple[int, int]] = {},
    lost: Mapping[str, tuple[int, int, int]] = {},
) -> Body:
    """A pack's body of (thing, reading) pairs."""
    known = aliases()
    return Body(pack.columns((known[thing, one.metric], one) for thing, one in readings), [], tallies, lost)


def certified(
    data: Path, name: str, serial: str, *, now: datetime | None = None, signed_by: Path | None = None
) -> ssl.SSLContext:
    """TLS with the CA of the hub's data, and a new certificate of it, or of that of other data."""
    key, csr = request(name)
    file = data / f"{name}-{secrets.token_hex(4)}.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(Authority(signed_by or data).sign(csr, name, serial, now=now) + private)
    return client_tls(ca=Authority(data).file, certificate=file)


def request(name: str) -> tuple[ec.EllipticCurvePrivateKey, bytes]:
    """A key, and a certificate signing request for it (PEM)."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    csr = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return key, csr.public_bytes(serialization.Encoding.PEM)


def enrolled(data: Path, name: str) -> ssl.SSLContext:
    """TLS with the certificate that lets this gateway in; asked for again, with another one for the same login."""
    with locked_json(data / logins.FILE) as serials:
        serial = serials.get(name)
    return certified(data, name, serial or logins.admit(data, name))


def status_of(
    counts: Sequence[tuple[int, int, int]], *, readings: int = 0, oldest_ms: int | None = None, time_ms: int,
    lost: int = 0, failure: str = "", past: Sequence[Sample] = (),
) -> Status:  # fmt: skip
    """A status of a gateway that has the bulk lane alone, with the (epoch, read, suppressed) of it."""
    bulk = Lane([Counts(*each) for each in counts], readings, oldest_ms)
    lanes = {topics.URGENT: Lane([], 0, None), topics.BULK: bulk}
    return Status(time_ms, lanes, lost, 4096, 512 << 20, failure, list(past))


class Gateway:
    """A gateway with the bulk lane alone, whose outbox is in memory. `run` serves; `put` makes a pack."""

    def __init__(self, data: Path, port: int, *, states: Mapping[str, str] = {}, epoch_count: int = 1):
        self.epoch = epoch_number(INCARNATION, epoch_count, 0)
        self._broker = Broker("127.0.0.1", port, ID, tls=enrolled(data, ID))
        self._sender = Sender(resend_ms=500)
        self._sender.open(self.epoch)
        self._bodies: dict[int, Body] = {}
        self._seq = 0
        self._states = states
        self._told: Status | None = None
        self._wake = asyncio.Event()
        self._empty = asyncio.Event()

    @property
    def held(self) -> int:
        """Packs that the hub has not yet said to have stored."""
        return len(self._bodies)

    def put(self, made: Body) -> None:
        """Hold a pack, and send it."""
        self._seq += 1
        self._bodies[self._seq] = made
        self._empty.clear()
        self._sender.appended(self.epoch, self._seq)
        self._wake.set()

    def tell(self, status: Status) -> None:
        """Publish a status."""
        self._told = status
        self._wake.set()

    async def run(self) -> None:
        """Serve until cancelled."""
        will = Will(topics.birth("g", ID), b'{"state": "offline"}')
        await keep_session(self._broker, self._serve, will=will)

    async def emptied(self, timeout_s: float = 15) -> None:
        """Wait until the hub has stored everything."""
        async with asyncio.timeout(timeout_s):
            await self._empty.wait()

    async def _serve(self, session: Session) -> None:
        await session.subscribe("g/" + ID + "/cursor/+", qos=0)
        await session.publish(topics.birth("g", ID), birth(states=self._states, time_ms=_now()), qos=1, retain=True)
        self._sender.connected()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._hear(session))
                group.create_task(self._send(session))
        finally:
            self._sender.disconnected()

    async def _hear(self, session: Session) -> None:
        async for heard in session.messages():
            for release in self._sender.cursor(*cursor.decode(heard.payload), _now()):
                for seq in [seq for seq in self._bodies if seq <= release.upto]:
                    del self._bodies[seq]
            if not self._bodies:
                self._empty.set()
            self._wake.set()
        raise MqttError("ended")

    async def _send(self, session: Session) -> None:
        while True:
            for header in self._sender.due(_now()):
                made = self._bodies.get(header.seq)
                if made:  # else its cursor came while we were sending those before it
                    await session.publish(topics.up("g", ID, "bulk"), message(header, made))
            if self._told:
                await session.publish(topics.status("g", ID), statuses.encode(self._told), retain=True)
                self._told = None
            self._wake.clear()
            # Not wait_for: before Python 3.12 it can swallow a cancellation.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.1):
                    await self._wake.wait()


def _now() -> int:
    return time.time_ns() // 1_000_000
