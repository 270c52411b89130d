"""A sensor that is never connected: its advertisements say everything. BTHome v2, also encrypted."""

import asyncio
import logging
from collections.abc import Mapping
from hashlib import blake2b

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESCCM

from edge.errors import ActionRefused, ConfigError
from edge.links.base import Attached, Clock, Intake, Origin
from edge.links.ble_declared import declared
from edge.links.bleak_radio import Heard, Radio
from edge.links.condition import Condition
from hardware.catalogue import Command
from protocols import bthome
from protocols.errors import ChecksumError, DecodeError
from protocols.reading import Value

log = logging.getLogger(__name__)

SILENT_S = 7200.0  # a sensor that sends by the clock is gone then; one that waits for an event never is
REPEAT_MS = 5_000  # without a packet id, the same bytes within this time are the same event


class SensorKey:
    """Opens what a sensor has sealed by AES-CCM. `text`: 16 bytes in hex. Raises ConfigError."""

    def __init__(self, thing: str, address: str, text: str):
        try:
            key = bytes.fromhex(text)
        except ValueError:
            key = b""
        if len(key) != 16:
            raise ConfigError(f"{thing}: its key must be 16 bytes in hex")
        self._address = bytes.fromhex(address.replace(":", ""))
        self._cipher = AESCCM(key, tag_length=bthome.CHECK_SIZE)
        # A sensor that is given another key counts from the beginning again: the counter belongs to the key.
        self.counter_lane = "counter-" + blake2b(key, digest_size=6, person=b"bthome").hexdigest()

    def unseal(self, info: bytes, counter: bytes, sealed: bytes) -> bytes:
        """The plain objects. Raises ChecksumError."""
        try:
            return self._cipher.decrypt(bthome.nonce(self._address, info, counter), sealed, None)
        except InvalidTag:
            raise ChecksumError(bthome.SUBJECT, "was not sealed with this sensor's key") from None


class Sensor:
    """The sensor. Its counter is kept with the outbox, in the transaction that stores the readings."""

    def __init__(
        self,
        device: Attached,
        *,
        key: SensorKey | None,
        intake: Intake,
        clock: Clock,
        cursors: Mapping[tuple[str, str], Mapping[int, int]],
    ):
        self.thing = device.thing
        self._metrics = device.model.metrics
        self._key = key
        self._intake = intake
        self._clock = clock
        self._condition = Condition(device, intake)
        self._counter: int | None = cursors.get((device.thing, key.counter_lane), {}).get(0) if key else None
        self._objects: tuple[bytes | None, int] = (None, 0)  # those taken last, and when
        self._spoke = asyncio.Event()
        self._refusal = ""  # why its last advertisement was refused, if it was
        self._understood = False  # whether any was not
        self._triggered = False

    def advertises(self, heard: Heard) -> None:
        """Take what the sensor says."""
        data = heard.data.get(bthome.SERVICE)
        if data is None:
            return
        try:
            said = bthome.decode(data, self._key.unseal if self._key else None)
            if said.counter is not None and self._counter is not None and said.counter < self._counter:
                self._refuse("replayed_advertisements", f"counter {said.counter} after {self._counter}")
                return
            if self._is_news(said):
                self._take(said)
        except ChecksumError as error:
            self._refuse("checksum_errors", error)
        except DecodeError as error:
            self._refuse("decode_errors", error)
        else:
            self._refusal, self._understood = "", True
            self._spoke.set()

    def cut_off(self, reason: str) -> None:
        """Note that there is no adapter to hear the sensor by."""
        self._condition.gone(reason)

    async def act(self, command: Command, value: Value) -> Value:
        """Always ActionRefused: nobody can speak to it."""
        raise ActionRefused(self.thing, "only advertises: it takes no commands")

    async def run(self, _radio: Radio) -> None:
        """Note when the sensor falls silent, until cancelled."""
        self._condition.waiting("")
        while True:
            self._spoke.clear()
            try:
                async with asyncio.timeout(SILENT_S):
                    await self._spoke.wait()
            except TimeoutError:
                if self._refusal:
                    self._condition.gone(f"what it says is refused: {self._refusal}")
                elif not self._triggered:
                    self._condition.gone(f"silent for {SILENT_S / 3600:g} h")

    def _is_news(self, said: bthome.Advertisement) -> bool:
        """Whether this was not heard before."""
        if said.counter is not None and said.counter == self._counter:
            return False
        now = self._clock()
        before, before_ms = self._objects
        if before == said.objects and (said.packet_id is not None or now - before_ms < REPEAT_MS):
            return False
        self._objects = (said.objects, now)
        return True

    def _take(self, said: bthome.Advertisement) -> None:
        if said.unknown is not None:
            log.info("%s: object %02x is unknown; it and what follows are left aside", self.thing, said.unknown)
            self._intake.count("unknown_objects", self.thing)
        now = self._clock()
        readings = declared(self._metrics, said.readings, now)
        self._triggered = said.trigger_based
        self._condition.online()
        if said.counter is not None and self._key:
            self._counter = said.counter
            origin = Origin(self.thing, self._key.counter_lane, 0, said.counter)
            self._intake.take(self.thing, readings, origin=origin)
        elif readings:
            self._condition.heard(readings)

    def _refuse(self, counter: str, reason: object) -> None:
        """Count what is not the sensor's own or cannot be read: it is no sign of life."""
        self._refusal = str(reason)
        if not self._understood:
            self._condition.gone(f"what it says is refused: {reason}")  # at once: it is being attached
        log.warning("%s: an advertisement is refused: %s", self.thing, reason)
        self._intake.count(counter, self.thing)
