"""Starts the hub's parts as processes of their own, starts those again that die, and ends all of them together."""

import asyncio
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from hub import logins
from hub.authority import Authority
from hub.errors import SetupError
from hub.store.schema import prepare_if_possible
from runtime.broker import BrokerError, EmbeddedBroker
from runtime.process import die_with_parent, port_in_use

logger = logging.getLogger(__name__)

_ROOT = Path(__file__).parent.parent
_FIRST_GAP_S = 0.2
_LAST_GAP_S = 10.0
_GRACE_S = 5.0
_LOGINS_S = 0.5
_EVERYWHERE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}


async def run(data: Path, *, host: str, port: int, mqtt_port: int, names: Sequence[str] = ()) -> None:
    """Run the hub until SIGINT or SIGTERM. Raises SetupError if it cannot be run as asked.

    Gateways find the broker by localhost, by the host if it is one of this machine's, and by the names.
    """
    for name, number, option in (("web", port, "--port"), ("MQTT", mqtt_port, "--mqtt-port")):
        if port_in_use(host, number):
            raise SetupError(f"the {name} port {number} on {host} is in use; choose another one with {option}")
    prepare_if_possible(data)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    here = _EVERYWHERE.get(host, host)  # where ingest finds the broker
    tls = Authority(data).broker((here, *names))
    seen = logins.version(data)  # before they are read: what changes in between is seen as a change
    broker = EmbeddedBroker(data / "broker", host=host, port=mqtt_port, users=logins.users(data), tls=tls)
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(broker.run(), name="broker"),
                group.create_task(_follow_logins(broker, data, seen), name="logins"),
                group.create_task(
                    _keep("ingest", ("--data", str(data), "--host", here, "--mqtt-port", str(mqtt_port))), name="ingest"
                ),
                group.create_task(_keep("notify", ("run", "--data", str(data))), name="notify"),
                group.create_task(_keep("web", ("--data", str(data), "--host", host, "--port", str(port))), name="web"),
            ]
            logger.info("the hub's page is at http://%s:%d", host, port)
            await stop.wait()
            for task in tasks:
                task.cancel()
    except* (BrokerError, SetupError) as failures:
        raise SetupError(str(failures.exceptions[0])) from None


async def _follow_logins(broker: EmbeddedBroker, data: Path, seen: int) -> None:
    """A gateway that is enrolled or revoked while the hub runs is let in or thrown out at once."""
    while True:
        await asyncio.sleep(_LOGINS_S)
        if (now := logins.version(data)) != seen:
            seen = now
            broker.set_users(await asyncio.to_thread(logins.users, data))


async def _keep(name: str, options: Sequence[str]) -> None:
    """Keep one part alive. Raises SetupError if it says itself (exit code 2) that it cannot be run so."""
    gap_s = _FIRST_GAP_S
    loop = asyncio.get_running_loop()
    while True:
        started = loop.time()
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "hub", name, *options, cwd=_ROOT, preexec_fn=die_with_parent
        )
        try:
            code = await process.wait()
        finally:
            await _end(process)
        if code == 2:
            raise SetupError(f"{name} cannot be run; it says why above")
        if loop.time() - started > _LAST_GAP_S:
            gap_s = _FIRST_GAP_S
        logger.warning("%s ended with code %s; starting it again in %.1f s", name, code, gap_s)
        await asyncio.sleep(gap_s)
        gap_s = min(gap_s * 2, _LAST_GAP_S)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(_GRACE_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
