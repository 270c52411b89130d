"""One Bluetooth device that is connected: each time that it advertises, until it goes."""

import asyncio
import logging
from zoneinfo import ZoneInfo

from edge.errors import ActionRefused
from edge.links.backoff import Backoff
from edge.links.base import Attached, Clock, Intake
from edge.links.ble_action import act
from edge.links.ble_records import RecordMemory
from edge.links.ble_session import Session, services_of
from edge.links.ble_time import DeviceClock
from edge.links.bleak_errors import RadioError
from edge.links.bleak_radio import Heard, Peer, Radio
from edge.links.condition import Condition
from hardware.catalogue import Ble, Command
from protocols.reading import Value

log = logging.getLogger(__name__)

SETUP_S = 40.0  # bonding and subscribing
MOST_GAP_S = 4.0  # between attempts; a cuff is awake for 20 s


class Station:
    """A device that is connected when it advertises. `advertises` and `cut_off` are told what the radio hears."""

    def __init__(
        self,
        device: Attached,
        *,
        ble: Ble,
        intake: Intake,
        clock: Clock,
        zone: ZoneInfo | None,
        memory: RecordMemory,
    ):
        self.thing = device.thing
        self._device = device
        self._services = None if device.model.commands else services_of(ble)  # a command may be for any
        self._intake = intake
        self._clock = clock
        self._zone = zone
        self._memory = memory
        self._condition = Condition(device, intake)
        self._backoff = Backoff(most_s=MOST_GAP_S)
        self._awake = asyncio.Event()
        self._heard: Heard | None = None  # as it advertised last
        self._peer: Peer | None = None

    def advertises(self, heard: Heard) -> None:
        """Note that the device can be connected now."""
        self._heard = heard
        self._awake.set()

    def cut_off(self, reason: str) -> None:
        """Note that there is no adapter to reach the device by."""
        self._condition.gone(reason)

    async def act(self, command: Command, value: Value) -> Value:
        """Write a characteristic. Raises ActionRefused, ActionFailed."""
        if self._peer is None:
            raise ActionRefused(self.thing, "is not connected")
        return await act(self._peer, self.thing, command, value)

    async def run(self, radio: Radio) -> None:
        """Connect each time the device advertises, until cancelled."""
        self._condition.waiting("")
        while True:
            self._awake.clear()  # what was heard before the last session ended may be over
            await self._awake.wait()
            assert self._heard
            try:
                await self._session(self._heard, radio)
            except (RadioError, TimeoutError) as error:
                log.info("%s: %s", self.thing, error or "no answer in time")
                self._intake.count("link_errors", self.thing)
                self._condition.gone(str(error) or "no answer in time")
                await asyncio.sleep(self._backoff.next_s())
            else:
                self._backoff.reset()

    async def _session(self, heard: Heard, radio: Radio) -> None:
        async with radio.connected(heard, self._services) as peer:
            session = Session(
                peer,
                self._device,
                intake=self._intake,
                condition=self._condition,
                memory=self._memory,
                clock=DeviceClock(self._clock, self._zone),
            )
            async with asyncio.timeout(SETUP_S):
                await session.set_up()
            self._condition.online()
            self._peer = peer
            try:
                await session.serve()
            except RadioError:
                if not peer.gone.done():  # else it left in the middle of an exchange, as devices do
                    raise
            finally:
                self._peer = None
        if session.episodic:
            self._condition.waiting("disconnected until its next measurement")
        else:
            self._condition.gone("disconnected")
