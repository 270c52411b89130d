"""Puts a gateway together from its config, and runs it."""

import asyncio
import ssl
from collections.abc import Callable, Coroutine
from pathlib import Path

from edge.clock import SteadyClock
from edge.config import BleLink, Config, Device, ModbusLink, MqttLink, SerialLink
from edge.errors import ConfigError
from edge.links import ble, modbus, mqtt, serial
from edge.links.base import Attached, Link
from edge.outbox import Outbox
from edge.outbox_file import OutboxFile
from edge.page import Page
from edge.pipeline import Pipeline
from edge.supervisor import Supervisor
from edge.uplink.base import Uplink
from edge.uplink.hub import HubUplink
from edge.uplink.mqtt import MqttUplink
from runtime import systemd
from runtime.mqtt import Broker
from runtime.tls import client_tls


class Gateway:
    """One gateway. `run` serves until cancelled; what is in the outbox then waits for the next start."""

    def __init__(self, config: Config):
        self.config = config
        self.clock = SteadyClock()
        data = config.path(config.gateway.data)
        self._file = OutboxFile(data / "outbox.db", max_bytes=config.outbox.max_mb << 20)
        self.outbox = Outbox(self._file, commit_ms=config.outbox.commit_ms)
        models = {device.thing: device.declared for _, device in config.devices()}
        self.pipeline = Pipeline(self.outbox, models, clock=self.clock)
        self.uplink = self._make_uplink()
        parts: dict[str, Callable[[], Coroutine[object, object, None]]] = {"uplink": self.uplink.run}
        for declared in config.links:
            link = self._make_link(declared, data)
            parts[f"link {link.name}"] = link.run
        self.supervisor = Supervisor(parts)
        self.page = Page(config, self.pipeline, self.outbox, self.uplink.state, self.supervisor)

    async def run(self) -> None:
        """Serve until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.outbox.run(), name="outbox")
                tasks.create_task(self.supervisor.run(), name="supervisor")
                tasks.create_task(self.page.run(), name="page")
                tasks.create_task(systemd.keep_alive(), name="watchdog")
        finally:
            self._file.close()

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
            clock=self.clock,
        )

    def _make_link(self, link: ModbusLink | BleLink | SerialLink | MqttLink, data: Path) -> Link:
        attached = [Attached(device.thing, device.declared, device.address) for device in link.devices]
        if isinstance(link, ModbusLink):
            return modbus.ModbusLink(link.name, link.host, link.port, attached, self.pipeline, self.clock)
        if isinstance(link, SerialLink):
            return serial.SerialLink(link.name, link.port, attached[0], self.pipeline, self.clock)
        if isinstance(link, BleLink):
            return ble.BleLink(
                name=link.name,
                adapter=link.adapter,
                devices=attached,
                intake=self.pipeline,
                clock=self.clock,
                bonds=data / f"bonds-{link.name}.json",
            )
        made = mqtt.MqttLink(
            name=link.name,
            directory=data / f"broker-{link.name}",
            host=link.host,
            port=link.port,
            devices=attached,
            passwords={device.thing: self._password(device) for device in link.devices},
            cursors=self._file.cursors(),
            intake=self.pipeline,
            clock=self.clock,
        )
        self.outbox.on_committed(made.committed)
        return made

    def _password(self, device: Device) -> str:
        if device.password_file is None:
            raise ConfigError(f"{device.thing} has no password_file")
        return _secret(self.config.path(device.password_file))


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
