"""One device on a Modbus line: what to read from it, and how it is."""

from edge.errors import DeviceError
from edge.links.base import Attached, Intake
from edge.links.condition import Condition
from edge.links.modbus_blocks import BlockRequest, Table, tables_of
from edge.links.modbus_schedule import Poll, Unit
from protocols.errors import ProtocolError
from protocols.modbus import EXCEPTIONS, Cost


class Station(Unit):
    """The device. Raises DeviceError for an address or a model that cannot be polled."""

    def __init__(self, link: str, device: Attached, intake: Intake, costs: dict[bool, Cost], period_ms: int | None):
        modbus = device.model.modbus
        if modbus is None:
            raise DeviceError(link, device.thing, f"{device.model.device.model} is no Modbus model")
        if not device.address.isdecimal() or int(device.address) > 255:
            raise DeviceError(link, device.thing, f"address {device.address!r} is no unit id (0 to 255)")
        super().__init__()
        self.thing = device.thing
        self.unit_id = int(device.address)
        self.model = device.model
        self.modbus = modbus
        self.condition = Condition(device, intake)
        self.slowest_s = 0.0  # of its answers of late, from the request's end to their beginning
        self.whole_s = 0.0  # when it was last waited for as long as the timeout allows
        self.late_gap_s = 0.0  # before that is done again because it has answered late
        self.heard = False  # whether an answer to the last poll was right, or a refusal
        self.trouble = ""  # what was wrong with one that was not
        self.tables: dict[Poll, list[Table]] = {}
        periods: dict[str | None, tuple[float, float]] = {None: ((period_ms or modbus.period_ms) / 1000, 0.0)}
        for group_name, group in modbus.groups.items():
            periods[group_name] = (group.period_ms / 1000, group.phase_ms / 1000)
        for name, (period_s, phase_s) in periods.items():
            try:
                tables = tables_of(device.model, name, costs, lambda metrics: intake.channel(device.thing, metrics))
            except ProtocolError as error:
                raise DeviceError(link, device.thing, str(error)) from error
            if tables:
                self.tables[Poll(self, period_s, phase_s)] = tables
        self.polls = list(self.tables)
        if not self.polls:
            raise DeviceError(link, device.thing, f"{device.model.device.model} has no registers to read")

    @property
    def metrics(self) -> list[str]:
        """All that it is polled for."""
        return [field.name for tables in self.tables.values() for table in tables for field in table.fields]

    @property
    def probe(self) -> BlockRequest:
        """What it is probed with."""
        return self.tables[self.polls[0]][0].probe

    @property
    def note(self) -> str:
        """What it refuses to tell, for people."""
        names: dict[int, list[str]] = {}
        for tables in self.tables.values():
            for table in tables:
                for name, code in table.refusals.items():
                    names.setdefault(code, []).append(name)
        return "; ".join(f"{', '.join(names[code])}: {EXCEPTIONS.get(code, f'exception {code}')}" for code in names)
