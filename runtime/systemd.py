"""Tells systemd that a service is ready and alive: the protocol of sd_notify(3), datagrams to $NOTIFY_SOCKET."""

import asyncio
import os
import socket


def notify(state: str) -> None:
    """Send a state such as "READY=1"; nothing happens where systemd does not ask for it."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.connect("\0" + address[1:] if address.startswith("@") else address)
        channel.send(state.encode())


async def keep_alive() -> None:
    """Say READY, then WATCHDOG at half of the interval that systemd allows. An event loop that hangs falls silent."""
    notify("READY=1")
    limit_us = int(os.environ.get("WATCHDOG_USEC", "0"))
    while limit_us:
        notify("WATCHDOG=1")
        await asyncio.sleep(limit_us / 2_000_000)
