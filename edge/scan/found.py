"""What a scan has found, and the config blocks for it. No I/O."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from edge.scan.words import word
from hardware.catalogue import DeviceModel

Settings = Mapping[str, "str | int | Mapping[str, str | int]"]


class Fit(NamedTuple):
    """A model that a device may be; `sure`: it says so itself, else all that the model has is there and plausible."""

    model: DeviceModel
    sure: bool


class FoundDevice(NamedTuple):
    """A device by its address on its link; `fits`: best first, none for an unknown one; `said`: what it tells."""

    address: str
    fits: Sequence[Fit]
    said: str = ""


class FoundLink(NamedTuple):
    """A bus, radio or port on which there is something; `settings`: its keys in the config, `kind` among them."""

    settings: Settings
    devices: Sequence[FoundDevice]


def blocks(links: Iterable[FoundLink]) -> str:
    """The config blocks, ready to be pasted; unknown devices stand in them as comments."""
    numbers: dict[str, int] = {}
    things: set[str] = set()
    parts = []
    for link in links:
        kind = str(link.settings["kind"])
        numbers[kind] = numbers.get(kind, 0) + 1
        parts.append(_link(f"{kind}-{numbers[kind]}", link, things))
    return "\n\n".join(parts) + "\n"


def _link(name: str, link: FoundLink, things: set[str]) -> str:
    known = [device for device in link.devices if device.fits]
    lines = ["[[links]]", f"name = {_toml(name)}", *(f"{key} = {_toml(value)}" for key, value in link.settings.items())]
    if not known:
        lines = [f"# {line}" for line in lines]  # a link without devices is none
    for device in known:
        lines += ["", *_device(device, things)]
    if unknown := [device for device in link.devices if not device.fits]:
        lines += ["", *(_comment(word("{} unknown: {}", device.address, device.said)) for device in unknown)]
    return "\n".join(lines)


def _device(device: FoundDevice, things: set[str]) -> list[str]:
    best = device.fits[0]
    head = best.model.device
    lines = [_comment(f"{head.name.en} / {head.name.zh}, {head.maker}")]
    lines.append(_comment(word("sure" if best.sure else "plausible") + (f": {device.said}" if device.said else "")))
    if more := [fit.model.device.model for fit in device.fits[1:]]:
        lines.append(_comment(word("fits too: {}", ", ".join(more))))
    thing = _thing(head.model, device.address, things)
    lines += ["[[links.devices]]", f"thing = {_toml(thing)}", f"model = {_toml(head.model)}"]
    if device.address:
        lines.append(f"address = {_toml(device.address)}")
    return lines


def _thing(model: str, address: str, things: set[str]) -> str:
    """An id that no other device has."""
    ending = re.sub(r"[^A-Za-z0-9]", "", address)[-6:].lower()
    base = f"{model}-{ending}" if ending else model
    thing, number = base, 1
    while thing in things:
        number += 1
        thing = f"{base}-{number}"
    things.add(thing)
    return thing


def _comment(text: str) -> str:
    """One line: names on the air are anybody's, line ends among them."""
    return "# " + "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)


def _toml(value: "str | int | Mapping[str, str | int]") -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_toml(each)}" for key, each in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # TOML wants this one escaped too
