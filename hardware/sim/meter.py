"""A Modbus TCP meter made from a device file: `python -m hardware.sim.meter --port PORT [--model MODEL] [--seed N]`.

Its registers run as the metrics' `sim` tables say and are computed when read. A register that the file does not name
is refused (exception 2), another unit id than the meter's own gets no answer, as on a serial bus.
"""

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import Callable, Sequence
from random import Random
from time import monotonic

from pymodbus.constants import ExcCodes
from pymodbus.pdu import ModbusPDU
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from hardware.catalogue import DeviceModel, Modbus, Register, catalogue
from hardware.sim.signal import value_at
from protocols.modbus import encode_registers, register_count

READ = {3: "holding", 4: "input"}  # function code -> table


class Meter:
    """The register contents of one simulated device; `clock` counts seconds."""

    def __init__(self, model: DeviceModel, *, seed: int = 0, clock: Callable[[], float] = monotonic):
        if model.modbus is None:
            raise ValueError(f"{model.device.model} is no Modbus model")
        self.layout: Modbus = model.modbus
        self._metrics = []
        for name, metric in model.metrics.items():
            register = metric.register_
            if register is None or register.table not in READ.values():
                raise ValueError(f"{model.device.model}: {name} is no register that this simulator can serve")
            self._metrics.append((register, metric.sim))
        self._fingerprint = model.modbus.fingerprint
        self._random = Random(seed)
        self._clock = clock
        self._start_s = clock()

    def addresses(self, table: str) -> list[int]:
        """The register addresses of `table` that exist."""
        places = {
            register.address + word
            for register, _ in self._metrics
            if register.table == table
            for word in range(register_count(register.type))
        }
        if self._fingerprint and self._fingerprint.register_.table == table:
            places.add(self._fingerprint.register_.address)
        return sorted(places)

    def read(self, table: str, address: int, count: int) -> dict[int, int]:
        """The registers of all metrics that begin in the span, at this moment."""
        known = self._fingerprint
        if known and (table, address, count) == (known.register_.table, known.register_.address, 1):
            return {address: known.values[0]}  # asked for alone, as meters want it whose metrics lie over it
        words: dict[int, int] = {}
        for register, simulation in self._metrics:
            if register.table != table or not address <= register.address < address + count:
                continue
            value = value_at(simulation, self._clock() - self._start_s, self._random) if simulation else 0.0
            if register.type == "bool":
                value = value >= 0.5
            for place, word in enumerate(self._encode(register, value), register.address):
                words[place] = words.get(place, 0) | word  # several bits may share a register
        return words

    def _encode(self, register: Register, value: float) -> list[int]:
        return encode_registers(
            value,
            register.type,
            byte_order=self.layout.byte_order,
            word_order=self.layout.word_order,
            bit=register.bit,
            scale=register.scale,
            offset=register.offset,
        )


def device_of(meter: Meter, unit_id: int) -> SimDevice:
    """The meter as the server library wants it: it decides what exists, the meter what it holds."""

    async def fill(
        function: int, start: int, address: int, count: int, registers: list[int], _written: Sequence[int] | None
    ) -> ExcCodes | None:
        if function not in READ:
            return ExcCodes.ILLEGAL_FUNCTION
        for place, word in meter.read(READ[function], address, count).items():
            registers[place - start] = word
        return None

    def table(name: str) -> list[SimData]:
        # The library wants at least one entry in every table; this one is refused like all that do not exist.
        exists = [SimData(place, values=0, datatype=DataType.REGISTERS) for place in meter.addresses(name)]
        return exists or [SimData(0, datatype=DataType.INVALID)]

    no_bits = [SimData(0, values=False, datatype=DataType.BITS)]
    return SimDevice(unit_id, (no_bits, list(no_bits), table("holding"), table("input")), action=fill)


async def serve(meter: Meter, *, host: str, port: int, unit_id: int, ready: Callable[[int], None]) -> None:
    """Serve the meter until SIGINT or SIGTERM; `ready` is told the port once it listens. Raises RuntimeError."""

    def own_only(sending: bool, pdu: ModbusPDU) -> ModbusPDU | None:
        return pdu if sending or pdu.dev_id == unit_id else None

    server = ModbusTcpServer(
        device_of(meter, unit_id),
        address=(host, port),
        trace_pdu=own_only,  # type: ignore[arg-type]  # the library drops a request for which this gives None
    )
    await server.serve_forever(background=True)
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    ready(server.transport.sockets[0].getsockname()[1])  # type: ignore[attr-defined]
    await stop.wait()
    await server.shutdown()  # type: ignore[no-untyped-call]


def main() -> int:
    """The command line; 2 when it cannot start."""
    parser = argparse.ArgumentParser(prog="meter", description="A simulated Modbus TCP meter.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True, help="0 takes any free one")
    parser.add_argument("--model", default="eastron-sdm120", help="a file under hardware/devices")
    parser.add_argument("--unit", type=int, help="unit id, if not the model's own")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    logging.getLogger("pymodbus").setLevel(logging.CRITICAL)  # what matters is said below, in one sentence
    try:
        meter = Meter(catalogue()[options.model], seed=options.seed)
        unit_id = meter.layout.unit_id if options.unit is None else options.unit

        def ready(port: int) -> None:
            print(f"meter {options.model}, unit {unit_id}, listens on {options.host}:{port}", flush=True)

        asyncio.run(serve(meter, host=options.host, port=options.port, unit_id=unit_id, ready=ready))
    except KeyError:
        print(f"meter: there is no model {options.model}", file=sys.stderr)
        return 2
    except ValueError as error:
        print(f"meter: {error}", file=sys.stderr)
        return 2
    except RuntimeError:
        print(f"meter: cannot listen on {options.host}:{options.port}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
