"""The gateway's own broker in the config."""

from typing import Literal

from pydantic import Field

from edge.config.table import Device, Link


class MqttLink(Link):
    """Our own broker for devices that speak MQTT, over TLS: each has a certificate of `kerb edge admit`."""

    kind: Literal["mqtt"]
    host: str = "127.0.0.1"
    port: int = Field(default=8884, ge=1, le=65535)
    devices: tuple[Device, ...] = Field(min_length=1)

    @property
    def where(self) -> str:
        """The place, for people."""
        return f"own broker at {self.host}:{self.port}"
