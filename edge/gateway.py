"""Puts a gateway together from its config, and runs it."""

import asyncio
import importlib
import ssl
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path

from edge.alarms import MODEL, Alarms
from edge.backlog import Backlog
from edge.command_file import CommandFile
from edge.command_socket import SOCKET, CommandSocket
from edge.commands import Commands
from edge.config import AnyLink, Config
from edge.config.alarms import THING
from edge.errors import ConfigError
from edge.links.base import Actor, Link, Surroundings
from edge.outbox import Outbox, monotonic_ms
from edge.outbox_file import OutboxFile
from edge.outputs import Outputs
from edge.page import Page
from edge.pipeline import Pipeline
from edge.supervisor import Supervisor
from edge.timekeeping import Timekeeper
from edge.update_images import Images
from edge.updates import Updates
from edge.uplink.base import Uplink
from edge.uplink.hub import HubUplink
from edge.uplink.mqtt import MqttUplink
from protocols.command import Request, Result
from runtime import systemd
from runtime.mqtt import Broker
from runtime.tls import client_tls


class Gateway:
    """One gateway. `run` serves until cancelled; what is in the outbox then waits for the next start."""

    def __init__(self, config: Config):
        self.config = config
        data = config.path(config.gateway.data)
        self._time = Timekeeper(data)
        self.clock = self._time.clock
        self._file = OutboxFile(data / "outbox.db", max_bytes=config.outbox.max_mb << 20)
        self.outbox = Outbox(self._file, commit_ms=config.outbox.commit_ms, date=self._time.date)
        self._time.begin(self.outbox.epoch)
        self.backlog = Backlog(self.outbox, clock=self.clock, date=self.clock.unix_ms)
        models = config.models()
        self.pipeline = Pipeline(self.outbox, models, clock=self.clock)
        self.alarms = self._make_alarms()
        self.pipeline.listen(self.alarms, records=self.alarms.records)
        self._updates: list[Updates] = []
        links: dict[str, Actor] = {THING: self.alarms}
        parts: dict[str, Callable[[], Coroutine[object, object, None]]] = {}
        for declared in config.links:
            link = self._make_link(declared)
            links.update(dict.fromkeys((device.thing for device in declared.devices), link))
            parts[f"link {link.name}"] = link.run
        self._command_file = CommandFile(data / "commands.db")
        self.commands = Commands(links, models | {THING: MODEL}, self._command_file, clock=self.clock)
        self.uplink = self._make_uplink()
        socket = CommandSocket(data / SOCKET, self.commands)
        parts |= {"uplink": self._send, "commands": self.commands.run, "local commands": socket.run}
        parts |= {"alarms": self.alarms.run, "outputs": self.alarms.outputs.run, "clock": self._keep_time}
        self.supervisor = Supervisor(parts)
        self.page = Page(
            config,
            pipeline=self.pipeline,
            outbox=self.outbox,
            backlog=self.backlog,
            commands=self.commands,
            alarms=self.alarms,
            updates=self._updates,
            uplink=self.uplink.state,
            supervisor=self.supervisor,
        )

    async def run(self) -> None:
        """Serve until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.outbox.run(), name="outbox")
                tasks.create_task(self.supervisor.run(), name="supervisor")
                tasks.create_task(self.backlog.run(), name="backlog")
                tasks.create_task(self.page.run(), name="page")
                tasks.create_task(systemd.keep_alive(), name="watchdog")
        finally:
            self._file.close()
            self.commands.close()
            self._command_file.close()

    def _make_alarms(self) -> Alarms:
        kept = self._file.kept()

        def submit(request: Request) -> Awaitable[Result]:
            return self.commands.submit(request)

        return Alarms(
            self.config.placed_rules(),
            memory=self.outbox,
            kept=kept,
            record=self.pipeline.record,
            outputs=Outputs(submit, self.outbox.keep, clock=self.clock, kept=kept),
            clock=self.clock,
            steady_ms=monotonic_ms,
        )

    async def _keep_time(self) -> None:
        await self._time.run(self._next_epoch)

    async def _next_epoch(self) -> None:
        self.pipeline.close_packs()
        self.outbox.open_epoch()

    async def _send(self) -> None:
        """Not before the time is known: certificates have one, and packs cannot be dated."""
        if not self._time.settled.is_set():
            self.uplink.state.went_down("the time is not known yet")
            await self._time.settled.wait()
        await self.uplink.run()

    def _make_uplink(self) -> Uplink:
        gateway = self.config.gateway
        broker = broker_of(self.config)
        if self.config.uplink.kind == "mqtt":
            return MqttUplink(gateway=gateway.id, prefix=self.config.uplink.prefix, broker=broker, outbox=self.outbox)
        return HubUplink(
            gateway=gateway.id,
            name=gateway.name,
            broker=broker,
            outbox=self.outbox,
            pipeline=self.pipeline,
            commands=self.commands,
            alarms=self.alarms,
            backlog=self.backlog,
            clock=self.clock,
        )

    def _make_link(self, declared: AnyLink) -> Link:
        """The link, by the module of its kind: what the config does not need is never imported."""
        data = self.config.path(self.config.gateway.data)
        surroundings = Surroundings(
            intake=self.pipeline,
            clock=self.clock,
            data=data,
            secret=lambda path: _secret(self.config.path(path)),
            cursors=self._file.cursors,
            on_committed=self.outbox.on_committed,
            images=Images(data),
            show_updates=self._updates.append,
        )
        made: Link = importlib.import_module(f"edge.links.{declared.kind}").make_link(declared, surroundings)
        return made


def broker_of(config: Config) -> Broker:
    """The uplink's broker and how to log in there. Raises ConfigError for files that cannot be used."""
    uplink = config.uplink
    tls = None
    if uplink.url.startswith("mqtts:") and uplink.ca is not None:
        try:
            own = [config.path(file) if file else None for file in (uplink.certificate, uplink.key)]
            tls = client_tls(ca=config.path(uplink.ca), certificate=own[0], key=own[1])
        except (ssl.SSLError, OSError) as error:
            raise ConfigError(f"uplink: ca, certificate or key cannot be used: {error}") from error
    return Broker(
        host=uplink.host,
        port=uplink.port,
        client_id=config.gateway.id,
        username=uplink.username,
        password=_secret(config.path(uplink.password_file)) if uplink.password_file else None,
        tls=tls,
    )


def _secret(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
