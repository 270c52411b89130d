"""A device: the firmware's journal on virtual flash, and its handover to the gateway."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from firmware.core import handover, journal
from firmware.errors import JournalError
from protocols import cursor, topics
from protocols.custody import INCARNATION_BITS, NONCE_BITS, epoch_number
from protocols.reading import GOOD, Reading
from protocols.topics import BULK, DEVICE
from simulation.disk import Flash
from simulation.gateway import NUMBERED
from simulation.network import Broker, Line, Session
from simulation.world import Node, World

if TYPE_CHECKING:
    from simulation.ledger import Ledger

_LOOK_MS = 1000


class Device(Node):
    """Makes readings, keeps them in its journal, and hands them over. `clock`: it knows the time of day."""

    boot_errors = (OSError, JournalError)

    def __init__(
        self, world: World, ledger: "Ledger", broker: Broker, name: str, *, sectors: int, sector_bytes: int, clock: bool
    ):
        super().__init__(world, name)
        self.ledger = ledger
        self.line = Line(world, f"{name} line", self, self, broker=broker, wants=self._wanted)
        self.flash = Flash(self, sectors, sector_bytes)
        self._incarnation = world.chance.randrange(1, 1 << INCARNATION_BITS)
        self._epochs = 0  # as on disk
        self._has_clock = clock

    def boot(self) -> None:
        """Start over what is on the flash."""
        self._session: Session | None = None
        self._looking = False
        self._started_ms = self.world.now_ms
        self.coming: list[list[int]] = []  # what goes into the next packs
        self._refused: list[int] = []
        self.journal = _Journal(self)
        self.ledger.device_found(self.name, self.journal.epochs())
        self._handover = handover.Handover(self.journal, self, device=self.name)  # type: ignore[arg-type]
        self.line.dial()

    def halt(self) -> None:
        self.line.hang_up(None)

    def next(self) -> int:
        """As firmware.core.epochs.Epochs: a number that has not been used, on disk before it is returned."""
        self.act()
        self._epochs += 1
        self.act()
        epoch = epoch_number(self._incarnation, self._epochs, self.world.chance.getrandbits(NONCE_BITS))
        self.ledger.epoch_opened(self.name, epoch)
        return epoch

    def read(self, count: int) -> None:
        """Measure, and keep it as one pack."""
        if not self.alive:
            return
        time_ms = self.wall_ms() if self._has_clock else self._monotonic_ms()
        # Now and then one that the gateway has never heard of
        metric = NUMBERED if self.world.chance.randrange(6) else f"new-{self.world.chance.randrange(8)}"
        numbers = self.ledger.number(self.name, metric, count)
        readings = [Reading(metric, number, "1", GOOD, time_ms) for number in numbers]
        self.coming = [self._refused, numbers] if self._refused else [numbers]
        try:
            self._handover.append(readings, wall_clock=self._has_clock)
        except JournalError:
            self._refused = [number for parcel in self.coming for number in parcel]
        else:
            self._refused = []
        self._send()

    def connected(self, session: Session) -> None:
        """See simulation.network.Client; so with all that follow."""
        self._session = session
        self._guarded(self._handover.connected)
        self._send()

    def disconnected(self, session: Session) -> None:
        if session is self._session:
            self._session = None
            self._handover.disconnected()

    def received(self, session: Session, topic: str, payload: bytes, *, retained: bool) -> None:
        said, stored = cursor.decode(payload)
        self._guarded(lambda: self._handover.cursor(said, stored, self._monotonic_ms()))
        self._send()

    def _guarded(self, call: Callable[[], None]) -> None:
        """What the flash refuses ends the session."""
        try:
            call()
        except (OSError, JournalError):
            self.line.hang_up(0)

    def _send(self) -> None:
        session = self._session
        if session is None:
            return
        for header in self._handover.due(self._monotonic_ms()):
            message = self._handover.message(header, self._monotonic_ms())
            if message is None:
                continue
            self.act()
            if self.world.trace is not None:
                self.world.note(self.name, f"sends {self.world.place(header)}, base {header.base}")
            session.publish(topics.up(DEVICE, self.name, BULK), message)
        if not self._looking and self._handover._sender.next_due_ms() is not None:
            self._looking = True
            self.world.after(_LOOK_MS, self, self._look)

    def _look(self) -> None:
        self._looking = False
        self._send()

    def _monotonic_ms(self) -> int:
        return self.world.now_ms - self._started_ms + 1

    def _wanted(self, topic: str) -> bool:
        return topic == f"{DEVICE}/{self.name}/cursor/{BULK}"


class _Journal(journal.Journal):
    """The firmware's, which tells the ledger what it has and has not."""

    def __init__(self, device: Device):
        self._device = device
        super().__init__(device.flash)

    def append(self, payload: bytes, readings: int) -> int:
        ledger, device, epoch = self._device.ledger, self._device.name, self._open
        ledger.appending(device, epoch, self._next, self._device.coming[0])
        seq = super().append(payload, readings)
        self._device.coming.pop(0)
        ledger.appended(device, epoch, seq)
        return seq

    def release(self, epoch: int, upto: int) -> None:
        self._device.ledger.device_released(self._device.name, epoch, upto)
        super().release(epoch, upto)
