"""`kerb edge scan`: where to look, and what was found as config blocks on stdout."""

import argparse
import asyncio
import sys
from collections.abc import Coroutine, Iterator
from typing import Any, NamedTuple

from edge.errors import ConfigError, LinkError
from edge.links.modbus_line import Line, TcpLine
from edge.links.modbus_rtu import RtuOverTcpLine
from edge.scan.arguments import BY_ID
from edge.scan.ble import scan_air
from edge.scan.found import FoundLink, blocks
from edge.scan.modbus import Bus, scan_bus
from edge.scan.progress import Watch, watching
from edge.scan.search import Search, Setting
from edge.scan.serial import scan_port
from edge.scan.words import word
from hardware.catalogue import catalogue, with_own


class _Place(NamedTuple):
    """Somewhere to look."""

    name: str
    search: Coroutine[Any, Any, None]


def run(options: argparse.Namespace) -> int:
    """Scan, and print; 2 if some place could not be looked at, 130 if it was interrupted."""
    found: list[FoundLink] = []
    problems: list[str] = []
    interrupted = False
    with watching() as watch:
        places = list(_places(options, _search_of(options, watch, found)))
        if not places:
            raise ConfigError(word("no targets"))
        try:
            asyncio.run(_search(places, problems))
        except KeyboardInterrupt:
            interrupted = True  # what was found so far is worth having
    found = [link for link in found if link.devices]
    if found:
        print(f"# {word('head')}\n\n{blocks(found)}", end="")
    elif not problems and not interrupted:
        print(f"# {word('nothing', ', '.join(place.name for place in places))}")
    for problem in problems:
        print(f"kerb edge: {problem}", file=sys.stderr)
    return 130 if interrupted else 2 if problems else 0


async def _search(places: list[_Place], problems: list[str]) -> None:
    for place in places:
        try:
            await place.search
        except LinkError as error:
            problems.append(error.reason)


def _search_of(options: argparse.Namespace, watch: Watch, found: list[FoundLink]) -> Search:
    return Search(
        models=with_own(options.models) if options.models else catalogue(),
        units=options.units,
        timeout_s=options.timeout_ms / 1000,
        settings=[Setting(baud, parity) for baud in options.bauds for parity in options.parities],
        air_s=options.seconds,
        watch=watch,
        found=found,
    )


def _places(options: argparse.Namespace, search: Search) -> Iterator[_Place]:
    ports = options.serial
    if not (options.tcp or options.rtu_tcp or options.serial or options.ble):
        ports = sorted(map(str, BY_ID.iterdir())) if BY_ID.is_dir() else []
    for port in ports:
        yield _Place(port, scan_port(port, search))
    for framing, hosts in (("tcp", options.tcp), ("rtu", options.rtu_tcp)):
        for host, number in hosts:
            yield _Place(f"{host}:{number}", _scan_host(host, number, framing, search))
    for adapter in options.ble:
        yield _Place(adapter, scan_air(adapter, search))


async def _scan_host(host: str, port: int, framing: str, search: Search) -> None:
    kind: type[TcpLine | RtuOverTcpLine] = TcpLine if framing == "tcp" else RtuOverTcpLine
    line: Line = kind(host, port, lambda: 0, lambda _: None)
    bus = Bus(line, search.timeout_s)
    settings: dict[str, str | int] = {"kind": "modbus", "host": host, "port": port}
    if framing != "tcp":
        settings["framing"] = framing
    try:
        await scan_bus(bus, search, search.link(settings))
    finally:
        bus.close()
