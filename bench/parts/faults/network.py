"""The line: what it does to connections, brokers started anew, PUBACK without storage, cursors, who a gateway is.

A proxy stands between the devices and the gateway's broker, and one between the gateway and the hub's broker; each
fault lasts from a moment to longer than a keepalive. A gateway is replaced as it is in the field, when nothing is held
by it (what a dead card holds is gone); a second one of its identity begins with a copy of its storage, taken while that
is full, and must be refused by the hub and say so.
"""

import asyncio
import contextlib
import shutil
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from typing import Any

from bench.parts.campaign import Campaign, campaign, say
from bench.parts.load import Load, until
from bench.parts.proxy import FAULTS, Proxy
from edge.device_authority import FOLDER as DEVICES
from hardware.sim.block import GATEWAY
from hub.ingest import broker_login
from hub.store.schema import FILE, connect
from protocols import cursor, topics
from runtime.mqtt import Session, keep_session
from runtime.process import free_port

Fault = Callable[[], Awaitable[object]]

_BURST = 8  # faults at most
_MEAN_S = 1.5  # how long a fault lasts
_LONG_S = 20.0  # how long one in LONG lasts: both sides have given the line up by then
_LONG = 0.03
_LIMIT_S = 60.0


def run(count: int, seed: int) -> dict[str, Any]:
    """So many faults; also says how many of each there were."""
    return asyncio.run(_run(count, seed))


async def _run(count: int, seed: int) -> dict[str, Any]:
    async with on_bad_lines(seed) as (under, kinds):
        made = dict.fromkeys(kinds, 0)
        await under.recovered()
        while sum(made.values()) < count and not under.failed:
            for _ in range(min(under.chance.randint(1, _BURST), count - sum(made.values()))):
                (name,) = under.chance.choices(list(kinds), [weight for weight, _ in kinds.values()])
                say(name)
                await kinds[name][1]()
                made[name] += 1
            await under.recovered()
            say(f"{sum(made.values())} of {count} faults; {under.load.made()} made")
    return {**under.result, "faults": made}


@contextlib.asynccontextmanager
async def on_bad_lines(
    seed: int, *, other_clock: bool = False
) -> AsyncIterator[tuple[Campaign, dict[str, tuple[float, Fault]]]]:
    """A campaign with a proxy in each line, and its faults: name -> how often it is drawn, and what it does."""
    device_port, uplink_port = free_port(), free_port()
    load = Load(device_port=device_port)
    async with (
        Proxy(device_port, load.broker_port) as devices,
        Proxy(uplink_port, 0) as uplink,
        campaign(seed, load=load, uplink=uplink_port, other_clock=other_clock) as under,
    ):
        uplink.target = under.lab.mqtt_port
        yield under, _kinds(under, devices, uplink)


def _kinds(under: Campaign, devices: Proxy, uplink: Proxy) -> dict[str, tuple[float, Fault]]:
    kinds: dict[str, tuple[float, Fault]] = {}
    for where, proxies in (("devices", [devices]), ("uplink", [uplink]), ("both lines", [devices, uplink])):
        for fault in FAULTS:
            kinds[f"{where}: {fault}"] = 1.0, _on_line(under, proxies, fault)
    for broker in ("hub's broker", "gateway's broker"):
        kinds[f"{broker}: restarted"] = 1.5, _restarted(under, broker)
    kinds["ingest: stands still"] = 2.0, lambda: _stand_still(under)
    kinds["cursor: lost"] = 1.0, lambda: _set_cursor(under, uplink, late=False)
    kinds["cursor: late"] = 1.0, lambda: _set_cursor(under, uplink, late=True)
    kinds["gateway: replaced"] = 0.3, lambda: replace_gateway(under)
    kinds["gateway: twice"] = 0.3, lambda: second_gateway(under)
    return kinds


def _duration_s(under: Campaign) -> float:
    return _LONG_S if under.chance.random() < _LONG else under.chance.expovariate(1 / _MEAN_S)


def _on_line(under: Campaign, proxies: list[Proxy], fault: str) -> Fault:
    async def inflict() -> None:
        for proxy in proxies:
            proxy.delay_s = under.chance.uniform(0.05, 2.0)
            proxy.inflict(fault)
        await asyncio.sleep(_duration_s(under))
        for proxy in proxies:
            proxy.heal()

    return inflict


def _restarted(under: Campaign, broker: str) -> Fault:
    async def restart() -> None:
        under.lab.signal(broker, signal.SIGTERM)
        await asyncio.sleep(_duration_s(under))

    return restart


async def _stand_still(under: Campaign) -> None:
    """The broker takes what comes, and nobody stores it."""
    under.lab.signal("ingest", signal.SIGSTOP)
    await asyncio.sleep(_duration_s(under))
    under.lab.signal("ingest", signal.SIGCONT)


async def _set_cursor(under: Campaign, uplink: Proxy, *, late: bool) -> None:
    """The cursor that the broker keeps is gone, or one of long ago; then the gateway comes back and hears it first."""
    payloads = {lane: await asyncio.to_thread(_late_cursor, under, lane) if late else b"" for lane in topics.LANES}
    done = asyncio.Event()

    async def publish(session: Session) -> None:
        for lane, payload in payloads.items():
            await session.publish(topics.cursor(topics.GATEWAY, GATEWAY, lane), payload, qos=1, retain=True)
        done.set()
        await asyncio.Event().wait()

    hub = broker_login(under.lab.hub_data, host="127.0.0.1", port=under.lab.mqtt_port)
    task = asyncio.create_task(keep_session(hub, publish), name="set the cursor")
    await done.wait()
    uplink.inflict("reset")
    uplink.heal()
    task.cancel()
    await asyncio.wait((task,))


def _late_cursor(under: Campaign, lane: str) -> bytes:
    """What the hub may once have said: of each epoch half of what it has stored by now, and not more."""
    with closing(connect(under.lab.hub_data / FILE, readonly=True)) as db:
        stored = db.execute("SELECT epoch, seq FROM cursor WHERE gateway = ? AND lane = ?", (GATEWAY, lane)).fetchall()
    return cursor.encode("long ago", {epoch: seq // 2 for epoch, seq in stored if seq > 1})


async def replace_gateway(under: Campaign) -> None:
    """Another machine with the same id: a new card, enrolled anew. The old one holds nothing any more.

    Who its devices are is copied from the old card, as docs/security.md says: else each had to be provisioned again.
    """
    async with under.load.paused(under.lab, timeout_s=_LIMIT_S) as quiet:
        if not quiet:
            raise SystemExit("the gateway cannot be replaced: it still holds something")
        under.down.add("gateway")
        under.kill("gateway")
        data, kept = under.lab.directory / "gateway", under.lab.directory / "kept"
        shutil.move(data / DEVICES, kept)
        shutil.rmtree(data)
        data.mkdir()
        shutil.move(kept, data / DEVICES)
        shutil.rmtree(under.lab.directory / "tls")
        await asyncio.to_thread(under.lab.enrol)
        under.down.clear()


async def second_gateway(under: Campaign) -> str:
    """A second gateway starts from a copy of the first one's card, taken while that is full; its name in the lab.

    Raises SystemExit if it is not refused.
    """
    lab = under.lab
    name = f"twin-{time.monotonic_ns()}"
    lab.signal("ingest", signal.SIGSTOP)
    await asyncio.sleep(1.0)  # the outbox fills
    under.down.add("gateway")
    under.kill("gateway")
    shutil.copytree(lab.directory / "gateway", lab.directory / name, ignore=shutil.ignore_patterns("*.sock"))
    lab.add_gateway(name, links=under.load.links(free_port()))
    under.down.clear()
    await _told(under, "gateway", "sessions")
    lab.start(name)
    await asyncio.sleep(under.chance.uniform(0.0, 3.0))  # both have sent what they hold, or not yet
    lab.signal("ingest", signal.SIGCONT)
    await _told(under, name, "refusals")
    lab.kill(name)
    return name


async def _told(under: Campaign, name: str, count: str) -> None:
    """Wait until that gateway's uplink counts one. Raises SystemExit if it never does."""

    def there() -> bool:
        status = under.lab.status(name)
        return status is not None and status["uplink"][count] > 0

    if not await until(there, _LIMIT_S):
        raise SystemExit(f"{name}: {count} is still 0 after {_LIMIT_S:g} s")
