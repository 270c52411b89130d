"""The devices of `kerb bench ble`, as both of its processes know them."""

from hardware.catalogue import catalogue

METER = "C0:00:00:00:01:00"
_GUIDE = catalogue()["accu-chek-guide"]
assert _GUIDE.ble
METER_MODEL = _GUIDE.model_copy(update={"ble": _GUIDE.ble.model_copy(update={"records": 10_000})})


def address_of(number: int) -> str:
    """The address of one of the oximeters."""
    return f"C0:00:00:00:00:{number:02X}"
