"""A board with one service: what is written to it is indicated, and can be read. Run by MicroPython."""

import asyncio

from firmware import hal
from firmware.core.bonds import Bonds
from firmware.core.gatt_server import INDICATE, READ, READ_ENCRYPTED, WRITE, WRITE_ENCRYPTED, GattServer

SERVICE = "7a0f0001-5f0e-4d5c-9a53-6f1f2b9c0001"
OPEN, SEALED = "7a0f0001-5f0e-4d5c-9a53-6f1f2b9c0002", "7a0f0001-5f0e-4d5c-9a53-6f1f2b9c0003"


async def main() -> None:
    port = hal.port()
    server = GattServer(port.bluetooth(), Bonds(port.storage()), name="kerb-echo")

    answers: list[asyncio.Task[bool]] = []

    def take(value: bytes) -> None:
        answers[:] = [asyncio.create_task(server.indicate(OPEN, value))]

    server.on_write[OPEN] = take
    flags = READ | WRITE | READ_ENCRYPTED | WRITE_ENCRYPTED
    server.start(((SERVICE, ((OPEN, READ | WRITE | INDICATE), (SEALED, flags))),), advertised=(SERVICE,))
    server.set(SEALED, b"sealed")
    print("echo: ready")
    await server.run()


if __name__ == "__main__":
    asyncio.run(main())
