"""A board that measures the same vital signs again and again, with the health services of the wearable.

python vitals_board.py PERIOD_MS [alone]: between two measurements; spot checks are made each second, or only while no
central is there. Run by MicroPython.
"""

import asyncio
import sys

from firmware import hal
from firmware.core.bonds import Bonds
from firmware.core.clock import Clock
from firmware.core.gatt_server import GattServer
from firmware.core.health_services import HealthServices
from firmware.core.records import Records
from protocols.reading import DecimalFraction, reading

RATE_TENTHS, SATURATION_TENTHS, SKIN_HUNDREDTHS, BATTERY = 724, 968, 3312, 81
INTERVALS = [DecimalFraction(raw * 9765625, -10) for raw in (848, 850, 852, 854, 856, 858, 860, 862, 864, 866)]


async def main() -> None:
    """Measure and serve."""
    port = hal.port()
    server = GattServer(port.bluetooth(), Bonds(port.storage()), name="kerb-vitals", confirm_s=2)
    records = Records(port.partition("records"))
    services = HealthServices(
        server,
        Clock(port),
        records,
        maker="Kerb",
        model="kerb-wearable",
        serial="0123",
        period_s=1,
        stores_always="alone" not in sys.argv,
        battery=lambda: BATTERY,
    )
    services.start()
    serving = asyncio.create_task(services.run())
    while not serving.done():
        measured = [
            reading("heart_rate", DecimalFraction(RATE_TENTHS, -1), "/min"),
            reading("oxygen_saturation", DecimalFraction(SATURATION_TENTHS, -1), "%"),
            reading("skin_temperature", DecimalFraction(SKIN_HUNDREDTHS, -2), "Cel"),
        ]
        services.measured(measured, INTERVALS)
        await asyncio.sleep(int(sys.argv[1]) / 1000)
    serving.result()  # type: ignore[attr-defined]  # raises what ended it


if __name__ == "__main__":
    asyncio.run(main())
