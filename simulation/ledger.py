"""What must hold at every step, whatever happens. Each invariant, and the faults that it is not promised under:

custody   A reading is in custody from the moment that its device's journal has it, or that the gateway which alone
          heard it has committed its pack. From then on it is at every moment in a device's journal, on a gateway's disk
          or in the hub's store, itself or declared lost by a gap record in its place. What only a storage held that is
          replaced, or put back to an old image, is destroyed with it, and nothing else is.
stream    What the hub stores, it stores as what it is: of the thing that measured it, and in its metric.
once      The hub stores a reading once at most, and never one that it has declared lost, or the other way round. Every
          pack that it stores holds just the readings that went into it, and what it declares lost of a gap record is
          just what was in it. Not promised: what a device has handed over to a gateway whose storage was then replaced
          or put back, since its successor cannot know of it; what the hub had, after its own storage was put back.
order     Within an epoch a gateway sends its packs in order: it goes back to repeat some, and leaves none out that the
          disk can give it. The hub stores them by ascending seq, and within an epoch the readings of each source (and
          of each epoch of a device) in the order in which they were made. An epoch's number is never given twice.
cursor    What a gateway or the hub says to have stored is on its disk at that moment, and never less than what it has
          said before; but for storage that is put back.
books     The hub's own counts meet at every moment: of each thing, lane and epoch, read - suppressed = stored +
          declared lost, but for an epoch of which packs came to a storage that was put back. So do the gateway's: what
          it says that it holds is what its packs on disk and in memory hold, and what it has on disk as read is what
          went into packs.
history   What a gateway was about to send when its line came back is marked as history, however soon a new epoch
          begins.
urgent    No bulk pack is chosen to be sent while an urgent one may be; and what is urgent and of the gateway's own is
          chosen at most 2 s after it may be: it is on disk, or the disk has failed, the line is up, and not so many are
          under way unconfirmed that the sender's window is full.
command   A command acts at most once, and only when its start is on disk. It has one end, which is what everybody is
          told: done has acted, refused and expired have not. Not promised across storage that is put back or replaced.
alarm     See `Told` in alarms.py.
stall     When all power, lines and disks have been well for a quarter of an hour, nothing is left to be handed over:
          the hub has every reading in custody, no disk of a gateway holds a pack, every command has ended.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from edge.links.base import Origin
from protocols import cursor
from protocols.alarm import METRIC
from protocols.custody import Header
from protocols.pack import Body
from protocols.reading import Value
from protocols.senml import DevicePack
from simulation.alarms import Told
from simulation.orders import Orders
from simulation.world import World

if TYPE_CHECKING:
    from simulation.hub import Store

OWN = "meter"  # the thing that a gateway alone hears, as by Modbus
Key = tuple[str, int, int]  # a gateway's pack: lane, epoch, seq; epochs are never given twice


class Violation(Exception):
    """An invariant does not hold: its name, and how it was seen."""

    def __init__(self, invariant: str, what: str):
        super().__init__(f"{invariant}: {what}")
        self.invariant = invariant


class Ledger:
    """Where each reading is, by its number, kept outside of all programs."""

    def __init__(self, world: World):
        self.world = world
        self.orders = Orders(self)
        self.contents: dict[Key, frozenset[int]] = {}  # what went into each pack
        self.at_gateway: Counter[int] = Counter()  # on how many disks
        self.at_device: set[int] = set()
        self.outstanding: set[int] = set()  # in custody, and not at the hub
        self.doubtful: set[int] = set()  # may be stored twice, see above
        self.destroyed: set[int] = set()  # gone with a storage; if they should come again, so much the better
        self.told = Told(self, world)
        self.thing_of: dict[int, str] = {}
        self._metric_of: dict[int, str] = {}
        self.store: Store
        self._numbers = 0
        self._texts: dict[str, int] = {}
        self._stored: set[int] = set()
        self._declared: set[int] = set()
        self._parcels: dict[str, dict[tuple[int, int], frozenset[int]]] = {}  # by device, and there epoch and seq
        self._on_flash: dict[tuple[str, int], dict[int, frozenset[int]]] = {}  # by device and epoch, and there seq
        self._gaps: dict[Origin, frozenset[int]] = {}  # of devices' packs that came as gap records
        self._epochs: set[int] = set()
        self._sources: dict[int, int] = {}  # of a device's readings: the epoch of its journal
        self._last: dict[tuple[str, str, int, int, int], int] = {}
        self._said: dict[tuple[str, str, int], int] = {}

    def violated(self, invariant: str, what: str) -> None:
        """Raises Violation."""
        raise Violation(invariant, what)

    def number(self, thing: str, metric: str, count: int = 1) -> list[int]:
        """Numbers for new readings of a thing."""
        first = self._numbers + 1
        self._numbers += count
        numbers = list(range(first, self._numbers + 1))
        self.thing_of.update(dict.fromkeys(numbers, thing))
        self._metric_of.update(dict.fromkeys(numbers, metric))
        return numbers

    def number_of(self, value: Value) -> int:
        """The number of a reading, which is its value; a text is given one when it is first seen."""
        if isinstance(value, str):
            if value not in self._texts:
                (self._texts[value],) = self.number(OWN, METRIC)
            return self._texts[value]
        return abs(int(value))  # type: ignore[arg-type]

    def numbers_in(self, body: Body) -> set[int]:
        """The readings of a pack."""
        return {self.number_of(value) for column in body.columns for value in column.values}

    def epoch_opened(self, sender: str, epoch: int) -> None:
        """A sender begins an epoch."""
        if epoch in self._epochs:
            self.violated("order", f"{sender} opens epoch {self.world.epoch(epoch)}, which there was before")
        self._epochs.add(epoch)

    # --- devices ---

    def appending(self, device: str, epoch: int, seq: int, numbers: Iterable[int]) -> None:
        """A device's journal is about to take these readings."""
        parcel = self._parcels.setdefault(device, {})[epoch, seq] = frozenset(numbers)
        self._sources.update(dict.fromkeys(parcel, epoch))

    def appended(self, device: str, epoch: int, seq: int) -> None:
        """It has them."""
        self._is_on_flash(device, epoch, seq)

    def parcel(self, device: str, epoch: int, seq: int) -> frozenset[int]:
        """What went into a pack of a device."""
        return self._parcels[device][epoch, seq]

    def device_released(self, device: str, epoch: int, upto: int) -> None:
        """The journal has been told that it may let go."""
        parcels = self._on_flash.get((device, epoch), {})
        for seq in [seq for seq in parcels if seq <= upto]:
            gone = parcels.pop(seq)
            self.at_device -= gone
            self.check_held(gone, f"{device} lets go of pack {self.world.epoch(epoch)}/{seq}")

    def device_found(self, device: str, held: Iterable[tuple[int, int, int]]) -> None:
        """What a journal holds at a start: all that it had and had not let go of; and perhaps some that it had."""
        spans = {epoch: range(first, last + 1) for epoch, first, last in held}
        for (owner, epoch), parcels in self._on_flash.items():
            if owner == device and (missing := parcels.keys() - spans.get(epoch, ())):
                self.violated("custody", f"{device} has lost pack {self.world.epoch(epoch)}/{min(missing)}")
        for epoch, span in spans.items():
            for seq in span:
                self._is_on_flash(device, epoch, seq)

    def offered(self, origin: Origin, pack: DevicePack) -> None:
        """A gateway takes over a device's pack."""
        numbers = self._parcels[origin.sender][origin.epoch, origin.seq]
        if pack.lost:
            self._gaps[origin] = numbers
        elif {reading.value for reading in pack.readings} != numbers:
            self.violated(
                "once",
                f"pack {self.world.epoch(origin.epoch)}/{origin.seq} of {origin.sender} is not what went into it",
            )

    def gap(self, origin: Origin) -> frozenset[int]:
        """The readings of a device's pack, if it was a gap record that came."""
        return self._gaps.pop(origin, frozenset())

    # --- the hub ---

    def arrived(
        self,
        gateway: str,
        lane: str,
        header: Header,
        body: Body,
        *,
        streams: Mapping[int, tuple[str, str]],
        lost: Mapping[str, int],
        before: int,
    ) -> None:
        """The hub has stored a pack. streams: by alias, as the hub knows them; lost: what it declares of the pack as
        lost; before: the seq that it had of this epoch.
        """
        place = f"pack {lane} {self.world.place(header)} of {gateway}"
        here = self.numbers_in(body)
        if self.world.trace is not None:
            self.world.note("hub", f"stores {place}: {sorted(here)}" + (f", lost {dict(lost)}" if lost else ""))
        if header.seq <= before:
            self.violated("order", f"{place} is stored behind {before}")
        made = self._made(lane, header)
        if not here <= made:
            self.violated("once", f"{place} holds what never went into it")
        self._store(here, place)
        for column in body.columns:
            numbering = (gateway, lane, header.epoch, column.alias)
            for time_ms, value in zip(column.times_ms, column.values, strict=True):
                self._store_one(numbering, streams[column.alias], time_ms, value)
        self._declare(header, made - here, lost, place)

    def _store_one(
        self, numbering: tuple[str, str, int, int], stream: tuple[str, str], time_ms: int, value: Value
    ) -> None:
        number = self.number_of(value)
        if (self.thing_of[number], self._metric_of[number]) != stream:
            self.violated("stream", f"reading {number} of {self.thing_of[number]} is stored as {stream}")
        if isinstance(value, str):  # which may have been said before, in a pack that went with the power
            self.told.heard(stream[0], time_ms, value)
            return
        key = (*numbering, self._sources.get(number, 0))
        if number <= self._last.get(key, 0):
            place = f"{numbering[1]} {self.world.epoch(numbering[2])}"
            self.violated("order", f"{place}: reading {number} comes behind {self._last[key]}")
        self._last[key] = number

    def _declare(self, header: Header, missing: frozenset[int], lost: Mapping[str, int], place: str) -> None:
        """What is not in a pack that went into it must be declared lost, unless it came before."""
        declared = missing - self._stored
        for thing in {self.thing_of[number] for number in declared} | lost.keys():
            expected = sum(self.thing_of[number] == thing for number in declared - self._declared)
            told = lost.get(thing, 0)
            if told != expected and not missing & self._may_come_again():
                self.violated("once", f"{place} declares {told} readings of {thing} as lost, not {expected}")
        again = declared & self._declared - self._may_come_again()
        if again and header.first == header.seq:  # of several, some may have come before they gave way together
            self.violated("once", f"{place} declares reading {min(again)} as lost again")
        if not declared.isdisjoint(self._texts.values()):
            self.told.doubtful = True
        self._declared |= declared
        self.outstanding -= declared

    def _may_come_again(self) -> set[int]:
        return self.doubtful | set(self._texts.values()) if self.told.doubtful else self.doubtful

    def hub_says(self, gateway: str, lane: str, payload: bytes) -> None:
        """A cursor goes out."""
        for epoch, seq in cursor.decode(payload)[1].items():
            self.said("the hub", (gateway, lane, epoch), seq, self.store.kept(gateway, lane, epoch))

    def said(self, who: str, numbering: tuple[str, str, int], seq: int, on_disk: int) -> None:
        """Somebody says to have stored an epoch up to this seq."""
        before = self._said.get(numbering, 0)
        if seq > on_disk or seq < before:
            place = f"{numbering[0]} {numbering[1]} {self.world.epoch(numbering[2])}"
            self.violated("cursor", f"{who} says {seq} of {place}, has {on_disk} on disk, and has said {before}")
        self._said[numbering] = seq

    # --- what is promised no more ---

    def gateway_changed(self, devices: Iterable[str]) -> None:
        """A gateway's storage is another: what its devices have handed over may be handed over again."""
        self.told.doubtful = True
        for device in devices:
            self.doubtful.update(*self._parcels.get(device, {}).values())
            self._said = {numbering: seq for numbering, seq in self._said.items() if numbering[0] != device}
        gone = {number for number in self.outstanding if not self._is_held(number)}
        self.outstanding -= gone
        self.destroyed |= gone

    def hub_image(self) -> tuple[frozenset[int], frozenset[int]]:
        """What the hub has now."""
        return frozenset(self._stored), frozenset(self._declared)

    def hub_put_back(self, image: tuple[frozenset[int], frozenset[int]]) -> None:
        """The hub's storage is of that image: what it had got since is destroyed, unless it should come again."""
        gone = (self._stored | self._declared) - image[0] - image[1]
        self.told.doubtful = True
        self.doubtful |= gone
        self.destroyed |= gone
        self._stored, self._declared = set(image[0]), set(image[1])
        self._said.clear()
        self._last.clear()

    def check_held(self, numbers: Iterable[int], what: str) -> None:
        """Something is let go of: of what is in custody, somebody else must have it."""
        for number in numbers:
            if number in self.outstanding and not self._is_held(number):
                self.violated("custody", f"{what}, and nobody else has reading {number}")

    def let_go(self, numbers: frozenset[int]) -> None:
        """A gateway has these no more."""
        for number in numbers:
            self.at_gateway[number] -= 1

    def taken(self, numbers: frozenset[int]) -> None:
        """A gateway has committed these."""
        for number in numbers:
            self.at_gateway[number] += 1
        self._take_custody(numbers)

    def _is_on_flash(self, device: str, epoch: int, seq: int) -> None:
        parcel = self._parcels[device][epoch, seq]
        self._on_flash.setdefault((device, epoch), {})[seq] = parcel
        self.at_device |= parcel
        self._take_custody(parcel)

    def _take_custody(self, numbers: frozenset[int]) -> None:
        self.outstanding |= numbers - self._stored - self._declared - self.destroyed

    def _is_held(self, number: int) -> bool:
        return (
            number in self.at_device
            or self.at_gateway[number] > 0
            or number in self._stored
            or number in self._declared
        )

    def _made(self, lane: str, header: Header) -> frozenset[int]:
        if header.first == header.seq:
            return self.contents[lane, header.epoch, header.seq]
        span = range(header.first, header.seq + 1)
        return frozenset().union(*(self.contents[lane, header.epoch, seq] for seq in span))

    def _store(self, numbers: set[int], place: str) -> None:
        twice = numbers & (self._stored | self._declared) - self._may_come_again()
        if twice:
            self.violated("once", f"{place} brings reading {min(twice)} again")
        self._stored |= numbers
        self.outstanding -= numbers
