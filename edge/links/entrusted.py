"""What devices entrust to us out of their own journals: taken over in order and once, and answered after our commit.

No I/O and no clock: the link brings packs here, the outbox tells of its commits, and what to answer comes out.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from edge.links.base import Origin
from protocols.custody import STORE, Header, Receiver
from protocols.reading import TIME_ESTIMATED
from protocols.senml import BodyError, DevicePack, decode_pack
from protocols.topics import LANES, is_id

_MAX_UNIT = 32
_MAX_TIME_MS = 1 << 53  # what the hub takes


class Entrusted:
    """The receivers of a link's devices. `cursors` as the outbox has them on disk."""

    def __init__(self, devices: Iterable[str], cursors: Mapping[tuple[str, str], dict[int, int]]):
        self._receivers: dict[tuple[str, str], Receiver] = {}
        self._headers: dict[Origin, Header] = {}  # what waits for our commit; bounded by the devices' windows
        self._to_answer: dict[tuple[str, str], None] = {}  # in order
        for device in devices:
            for lane in LANES:
                receiver = Receiver()
                receiver.restore(cursors.get((device, lane), {}))
                self._receivers[device, lane] = receiver

    def skipped(self, device: str, lane: str, header: Header) -> int:
        """How many packs that never came here are passed over by taking this one; to be asked before `offer`."""
        return self._receivers[device, lane].skipped(header)

    def offer(self, device: str, lane: str, header: Header, take: Callable[[Origin], None]) -> str:
        """STORE: `take` was called with the pack's origin. Any other verdict: its device shall only be answered.

        What `take` raises goes on, and the pack must be offered again.
        """
        receiver = self._receivers[device, lane]
        verdict = receiver.offer(header)
        if verdict != STORE:
            self._to_answer[device, lane] = None
            return verdict
        origin = Origin(device, lane, header.epoch, header.seq)
        try:
            take(origin)
        except BaseException:
            receiver.withdraw(header)  # else its sender would hear of the next one, and delete it
            raise
        self._headers[origin] = header
        return verdict

    def committed(self, origins: Sequence[Origin]) -> None:
        """These packs are in the outbox: their devices may be told."""
        for origin in origins:
            header = self._headers.pop(origin, None)
            if header:
                self._receivers[origin.sender, origin.lane].stored(header)
                self._to_answer[origin.sender, origin.lane] = None

    def answer_all(self) -> None:
        """A session begins: every device shall hear its cursors."""
        self._to_answer.update(dict.fromkeys(self._receivers))

    def answers(self) -> Iterator[tuple[str, str, dict[int, int]]]:
        """Device, lane and cursor of each that is to be answered, until none is left."""
        while self._to_answer:
            device, lane = next(iter(self._to_answer))
            del self._to_answer[device, lane]
            yield device, lane, self._receivers[device, lane].cursor()


def decode(device: str, payload: bytes, now_ms: int) -> DevicePack:
    """A device's pack, its times on our clock. Raises ProtocolError; BodyError if its header is good."""
    pack = _on_our_clock(decode_pack(payload, device), now_ms)
    _check(pack)
    return pack


def _on_our_clock(pack: DevicePack, now_ms: int) -> DevicePack:
    """The pack of a device without a wall clock, re-based on ours as of its arrival.

    Never after it: what was made before the device's last start counts on a clock that has begun anew.
    """
    if pack.sent_ms is None:
        return pack
    shift = now_ms - pack.sent_ms
    readings = [
        reading._replace(time_ms=min((reading.time_ms or 0) + shift, now_ms), quality=reading.quality | TIME_ESTIMATED)
        for reading in pack.readings
    ]
    return pack._replace(readings=readings)


def _check(pack: DevicePack) -> None:
    """What SenML allows but we and the hub do not. Raises BodyError."""
    for reading in pack.readings:
        if not is_id(reading.metric) or len(reading.unit) > _MAX_UNIT:
            raise BodyError(pack.header, len(pack.readings), f"{reading.metric[:80]!r} or its unit is no name")
        if reading.time_ms is None or not 0 <= reading.time_ms < _MAX_TIME_MS:
            raise BodyError(pack.header, len(pack.readings), f"a time of {reading.metric} is out of range")
