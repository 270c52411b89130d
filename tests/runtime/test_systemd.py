"""The datagrams that systemd expects, on a real socket."""

import asyncio
import contextlib
import socket

from runtime import systemd


async def test_ready_and_then_the_watchdog_in_time(tmp_path, monkeypatch):
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(path))
        channel.settimeout(2)
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        monkeypatch.setenv("WATCHDOG_USEC", "20000")
        task = asyncio.create_task(systemd.keep_alive())
        said = [await asyncio.to_thread(channel.recv, 100) for _ in range(4)]
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    assert said == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1", b"WATCHDOG=1"]


async def test_without_systemd_nothing_is_said(monkeypatch):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    async with asyncio.timeout(1):
        await systemd.keep_alive()
