"""Finds Bluetooth devices by what they advertise."""

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import suppress

from edge.errors import LinkError
from edge.links.bleak_errors import RadioError
from edge.links.bleak_radio import Heard, open_radio
from edge.scan.found import Fit, FoundDevice
from edge.scan.search import Search
from edge.scan.words import word
from hardware.catalogue import Ble, DeviceModel
from protocols import bthome
from protocols.errors import DecodeError

_MOST_UNKNOWN = 20  # of a street's phones and earbuds, the nearest


class _Neighbour:
    """A device, from all that it advertised."""

    def __init__(self, address: str):
        self.address = address
        self.name = ""
        self.services: set[int] = set()
        self.data: dict[int, bytes] = {}
        self.rssi = -128

    def add(self, heard: Heard) -> None:
        """Scan responses tell what advertisements had no room for."""
        self.name = heard.name or self.name
        self.services |= heard.services
        self.data |= heard.data
        self.rssi = max(self.rssi, heard.rssi)


async def scan_air(adapter: str, search: Search) -> None:
    """Find all that advertises within that time. Raises LinkError for an adapter that cannot be used."""
    neighbours: dict[str, _Neighbour] = {}

    def heard(said: Heard) -> None:
        if said.address not in neighbours:
            neighbours[said.address] = _Neighbour(said.address)
            search.watch.found()
        neighbours[said.address].add(said)

    async def count() -> None:
        for second in range(round(search.air_s) + 1):
            search.watch.at(word("advertisements {}", adapter), second, round(search.air_s))
            await asyncio.sleep(1)

    try:
        async with open_radio(adapter, None) as radio:
            counting = asyncio.create_task(count())
            try:
                with suppress(TimeoutError):
                    async with asyncio.timeout(search.air_s):
                        await radio.listen(heard)
            finally:
                counting.cancel()
    except RadioError as error:
        raise LinkError(adapter, error.reason) from error
    finally:
        search.link({"kind": "ble", "adapter": adapter}).extend(_devices(neighbours.values(), search.models))


def _devices(neighbours: Iterable[_Neighbour], models: Mapping[str, DeviceModel]) -> list[FoundDevice]:
    """Known ones first, each kind the nearest first."""
    nearest = sorted(neighbours, key=lambda each: -each.rssi)
    fits = {each.address: fits_of(each.name, each.services, each.data, models) for each in nearest}
    devices = [FoundDevice(each.address, fits[each.address], _said(each)) for each in nearest]
    known, unknown = [each for each in devices if each.fits], [each for each in devices if not each.fits]
    return known + unknown[:_MOST_UNKNOWN]


def fits_of(name: str, services: set[int], data: Mapping[int, bytes], models: Mapping[str, DeviceModel]) -> list[Fit]:
    """The models that advertise so: by name for sure, else by their service and what they say in it."""
    declared = [(model, model.ble) for model in models.values() if model.ble is not None]
    named = [model for model, ble in declared if ble.local_name and name.startswith(ble.local_name)]
    if named:
        return [Fit(model, sure=True) for model in named]
    return [Fit(model, sure=False) for model, ble in declared if _serves(model, ble, services, data)]


def _serves(model: DeviceModel, ble: Ble, services: set[int], data: Mapping[int, bytes]) -> bool:
    if ble.advertises is None:
        return ble.service in services
    if ble.service not in data:
        return False
    if bthome.is_sealed(data[ble.service]):
        return True  # it may be any
    try:
        said = bthome.decode(data[ble.service])
    except DecodeError:
        return False
    return {each.metric for each in said.readings} <= model.metrics.keys()


def _said(neighbour: _Neighbour) -> str:
    services = ", ".join(f"{service:04X}" for service in sorted(neighbour.services | neighbour.data.keys()))
    said = ", ".join(part for part in (neighbour.name, services, f"{neighbour.rssi} dBm") if part)
    sealed = bthome.is_sealed(neighbour.data.get(bthome.SERVICE, b""))
    return word("advertises {}", said) + (f"; {word('sealed')}" if sealed else "")
