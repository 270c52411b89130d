"""The gateway's own broker in the config."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from edge.config.table import Device, Link


class MqttDevice(Device):
    """A device that speaks MQTT; the file holds its password."""

    password_file: Path


class MqttLink(Link):
    """Our own broker for devices that speak MQTT, each with its password."""

    kind: Literal["mqtt"]
    host: str = "127.0.0.1"
    port: int = Field(default=1884, ge=1, le=65535)
    devices: tuple[MqttDevice, ...] = Field(min_length=1)

    @property
    def where(self) -> str:
        """The place, for people."""
        return f"own broker at {self.host}:{self.port}"
