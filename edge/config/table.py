"""What every table of the config shares: devices as attached to a link, and links."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

from hardware.catalogue import DeviceModel, catalogue

Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class Table(BaseModel):
    """A table of the file: no unknown keys, and nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Device(Table):
    """A device on a link: its id as a thing, its model (a file in hardware/devices), its address on the link."""

    thing: Id
    model: str
    address: str = ""

    @field_validator("model")
    @classmethod
    def _check_model(cls, model: str) -> str:
        if model not in catalogue():
            raise ValueError(f"no such model; there are {', '.join(catalogue())}")
        return model

    @property
    def declared(self) -> DeviceModel:
        """What the model's file declares."""
        return catalogue()[self.model]

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that are named for it: secrets, which must be there."""
        return tuple(value for _, value in self if isinstance(value, Path))


class Link(Table):
    """A bus, radio or port; each kind adds where it is, and may know more of its devices."""

    name: Id


def check_apart(devices: tuple[Device, ...]) -> None:
    """No two devices at one address. Raises ValueError."""
    addresses = [device.address.upper() for device in devices]
    for device, address in zip(devices, addresses, strict=True):
        if addresses.count(address) > 1:
            raise ValueError(f"the address {device.address} of {device.thing} is given to another device too")
