"""Medication plans for dispensers: a file each in the gateway's data, <data>/plans/<thing>.plan, passed on as it is.

Whether a plan may be followed is the device's to judge: it verifies the pharmacy's signature.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from protocols import medication


class PlanFiles:
    """The files of these things, as somebody puts them there while the gateway runs."""

    def __init__(self, data: Path, things: Iterable[str]):
        self._files = {thing: data / "plans" / f"{thing}.plan" for thing in things}
        self._given: dict[str, bytes] = {}

    def forget(self) -> None:
        """The broker begins anew: each plan is to be given again."""
        self._given.clear()

    def news(self) -> Iterator[tuple[str, bytes]]:
        """The plans that were not given yet, as (thing, plan). What cannot be one is left where it is."""
        for thing, file in self._files.items():
            if not file.is_file() or file.stat().st_size > medication.MAX_BYTES:
                continue
            plan = file.read_bytes()
            if plan != self._given.get(thing):
                self._given[thing] = plan
                yield thing, plan
