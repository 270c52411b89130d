"""Finds who is on a serial port: devices that talk by themselves, that answer their request, and Modbus units."""

import asyncio
import os
from collections.abc import Sequence

from edge.errors import LinkError
from edge.links.modbus_rtu import SerialLine
from edge.links.serial_port import SerialPort
from edge.links.serial_talk import talk_of
from edge.scan.found import Fit, FoundDevice
from edge.scan.modbus import Bus, scan_bus
from edge.scan.search import Search, Setting
from edge.scan.words import word
from hardware.catalogue import DeviceModel
from protocols.reading import BAD

LISTEN_S = 2.5  # receivers talk every second, dust sensors every 2.3 s
ANSWER_S = 1.0
_ENOUGH = 2  # whole sentences or frames: one might be chance


async def scan_port(port: str, search: Search) -> None:
    """Find what is on a port: a talker, else Modbus at the first setting at which a unit answers. Raises LinkError."""
    if talker := await _talker(port, search):
        search.watch.found()
        search.link({"kind": "serial", "port": port}).append(FoundDevice("", talker))
        return
    refusals: list[LinkError] = []
    for setting in search.settings:
        line = SerialLine(port, lambda: 0, lambda _: None, **setting._asdict())
        bus = Bus(line, search.timeout_s)
        devices = search.link({"kind": "modbus", "serial": {"port": port, **setting._asdict()}})
        try:
            await scan_bus(bus, search, devices)
        except LinkError as error:
            refusals.append(error)  # not every adapter can do every setting
            continue
        finally:
            bus.close()
        if devices:
            return
    if refusals and len(refusals) == len(search.settings):
        raise refusals[0]


async def _talker(port: str, search: Search) -> list[Fit]:
    """The models whose sentences or frames come from the port, best first. Raises LinkError."""
    by_setting: dict[Setting, list[DeviceModel]] = {}
    for model in search.models.values():
        if model.serial is not None:
            setting = Setting(model.serial.baud, model.serial.parity, model.serial.stop_bits)
            by_setting.setdefault(setting, []).append(model)
    for done, (setting, candidates) in enumerate(by_setting.items()):
        search.watch.at(word("listening {} {}", port, setting.baud), done, len(by_setting))
        if fits := await _heard(port, setting, [each for each in candidates if not _request(each)], b"", LISTEN_S):
            return fits
        for each in candidates:
            if request := _request(each):
                search.watch.at(word("asking {} {}", port, each.device.model), done, len(by_setting))
                if fits := await _heard(port, setting, [each], request, ANSWER_S):
                    return fits
    return []


async def _heard(
    port: str, setting: Setting, candidates: Sequence[DeviceModel], request: bytes, wait_s: float
) -> list[Fit]:
    """The candidates that are understood within that time; who says most of what it has is first."""
    if not candidates:
        return []
    talks = [(model, talk_of(model)) for model in candidates]
    whole = {model.device.model: 0 for model in candidates}
    told: dict[str, set[str]] = {model.device.model: set() for model in candidates}
    news, ended = asyncio.Event(), asyncio.Event()

    def readable() -> None:
        try:
            data = os.read(line.fileno(), 4096)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            loop.remove_reader(line.fileno())
            ended.set()
        for model, talk in talks:
            for _, readings in talk.feed(data):
                whole[model.device.model] += 1
                told[model.device.model] |= {each.metric for each in readings if each.quality < BAD}
        news.set()

    loop = asyncio.get_running_loop()
    line = SerialPort(port, port, **setting._asdict())
    try:
        loop.add_reader(line.fileno(), readable)
        if request:
            os.write(line.fileno(), request)
        enough = 1 if request else _ENOUGH  # an answer to a question is no chance
        until_s = loop.time() + wait_s
        while not ended.is_set() and not any(whole[name] >= enough and told[name] for name in whole):
            try:
                async with asyncio.timeout_at(until_s):
                    await news.wait()
            except TimeoutError:
                break
            news.clear()
    except OSError as error:
        raise LinkError(port, str(error)) from error
    finally:
        loop.remove_reader(line.fileno())
        line.close()
    fits = [model for model in candidates if whole[model.device.model] >= enough]
    fits.sort(key=lambda model: len(told[model.device.model]) / len(model.metrics), reverse=True)
    return [Fit(model, sure=False) for model in fits]


def _request(model: DeviceModel) -> bytes:
    """What a model that speaks only when it is asked is asked with."""
    assert model.serial
    return bytes.fromhex(model.serial.request or "")
