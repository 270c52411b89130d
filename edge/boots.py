"""When the starts of this machine were, and the dating of readings whose times count from one. Pure.

A start whose time was never found ended before the next one began: its readings are dated as if it was just before.
All readings that were dated so are marked as estimated.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from edge.clock import is_unix
from protocols.pack import Body, Column, by_alias
from protocols.reading import GOOD, TIME_ESTIMATED

_REMEMBERED = 16  # starts


@dataclass
class Boot:
    """One start of the machine, by the kernel's id of it.

    epochs: of the outbox, whose packs may have times that count from it; seen_ms: how long after it the gateway was
    last seen; offset_ms: its Unix time, None if that is not known.
    """

    id: str
    epochs: list[int] = field(default_factory=list)
    seen_ms: int = 0
    offset_ms: int | None = None


class Boots:
    """The starts that matter, oldest first; the present one is the last."""

    def __init__(self, boots: Sequence[Boot], present: str):
        self.all = [boot for boot in boots if boot.epochs or boot.id == present][-_REMEMBERED:]
        if not self.all or self.present.id != present:
            self.all.append(Boot(present))

    @property
    def present(self) -> Boot:
        """This start."""
        return self.all[-1]

    def concern(self, epoch: int) -> bool:
        """Whether packs of this epoch may have times that count from a start."""
        return any(epoch in boot.epochs for boot in self.all)

    def date(self, epoch: int, body: Body) -> Body:
        """The body with Unix times. Only once the time of the present start is known."""
        place = next(place for place, boot in enumerate(self.all) if epoch in boot.epochs)
        start_ms = self._start_ms(place)
        end_ms = self._start_ms(place + 1) if place + 1 < len(self.all) else None

        def unix(time_ms: int) -> int:
            dated = time_ms if is_unix(time_ms) else time_ms + start_ms
            return dated if end_ms is None or is_unix(time_ms) else min(dated, end_ms)

        columns = [
            column._replace(
                times_ms=[unix(time_ms) for time_ms in column.times_ms],
                qualities=[
                    quality | (0 if is_unix(time_ms) else TIME_ESTIMATED)
                    for quality, time_ms in zip(column.qualities, column.times_ms, strict=True)
                ],
            )
            for column in body.columns
        ]
        for row in body.rows:  # which say nothing of quality: so they cannot stay rows
            if not is_unix(row.time_ms):
                time_ms = unix(row.time_ms)
                columns += [
                    Column(alias, [time_ms], [GOOD | TIME_ESTIMATED], [value]) for alias, value in by_alias(row)
                ]
        rows = [row for row in body.rows if is_unix(row.time_ms)]
        lost = {thing: (count, unix(first), unix(last)) for thing, (count, first, last) in body.lost.items()}
        return Body(columns, rows, body.tallies, lost)

    def _start_ms(self, place: int) -> int:
        boot = self.all[place]
        return boot.offset_ms if boot.offset_ms is not None else self._start_ms(place + 1) - boot.seen_ms
