"""Alarms of a real gateway without a line: a siren on a serial line, kill -9 in between, and one story at the end."""

import asyncio
import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx

from bench.parts.lab import Lab
from hardware.sim.block import GATEWAY, get_json
from hardware.sim.rtu import RtuBus
from protocols.modbus import exception_response, parse_request, read_response
from runtime.broker import EmbeddedBroker, User
from runtime.mqtt import Broker, Session, keep_session
from runtime.process import die_with_parent, free_port

ROOT = Path(__file__).parents[2]
CONFIG = """
[gateway]
id = "gw-1"
name = {{ en = "Home", zh = "家" }}

[uplink]
kind = "mqtt"
url = "mqtt://127.0.0.1:{mqtt}"
username = "gw-1"
password_file = "secret"

[page]
port = {page}

[alarms]
rules = "rules"

[[links]]
name = "panel"
kind = "modbus"
serial = {{ port = "{port}", baud = 19200 }}
devices = [{{ thing = "panel-1", model = "advantech-adam-6060", address = "3" }}]
"""
RULES = """
[[rules]]
id = "intruder"
version = 1
name = { en = "Door forced", zh = "门被强行打开" }
priority = "high"
commands = [{ thing = "panel-1", command = "switch_relay_1", on = 1, off = 0 }]
when = { metric = "input_1", equals = true, delay_on_s = 0.5 }

[[rules]]
id = "no-power"
version = 1
name = { en = "No mains", zh = "市电中断" }
priority = "low"
when = { metric = "input_2", equals = true }
"""
LISTENER = User("listener", [], ["kerb/#"], "secret")
SIREN = 16
DOOR, MAINS = 0, 1


class Panel:
    """Unit 3: inputs and relays as coils; `switched`: what the siren was told."""

    def __init__(self) -> None:
        self.coils = dict.fromkeys([*range(6), *range(16, 22)], False)
        self.switched: list[bool] = []

    def __call__(self, unit: int, pdu: bytes) -> bytes | None:
        request = parse_request(pdu)
        if request.function == 5:
            self.coils[request.address] = pdu[3:5] == b"\xff\x00"
            self.switched.append(self.coils[request.address])
            return pdu
        span = range(request.address, request.address + request.quantity)
        if unit != 3 or request.function != 1 or not set(span) <= self.coils.keys():
            return exception_response(request.function, 2)
        bits = sum(self.coils[place] << number for number, place in enumerate(span))
        return read_response(1, bits.to_bytes((len(span) + 7) // 8, "little"))


class Listener:
    """Another program at the far broker, which keeps the alarms' changes."""

    def __init__(self, port: int):
        self.changes: list[dict[str, Any]] = []
        self.ready = asyncio.Event()
        self._broker = Broker("127.0.0.1", port, "listener", "listener", "secret")

    async def run(self) -> None:
        await keep_session(self._broker, self._serve)

    async def _serve(self, session: Session) -> None:
        await session.subscribe("kerb/#")
        self.ready.set()
        async for message in session.messages():
            self.changes += [
                json.loads(each["vs"]) for each in json.loads(message.payload) if each["n"] == "alarm_change"
            ]


def start(config: Path) -> "subprocess.Popen[bytes]":
    with (config.parent / "log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "edge", "run", str(config)],
            cwd=ROOT,
            stdout=log,
            stderr=log,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - it makes one system call
        )


async def until(seen: Callable[[], Awaitable[Any] | Any]) -> None:
    while True:
        found = seen()
        if await found if asyncio.iscoroutine(found) else found:
            return
        await asyncio.sleep(0.05)


async def test_a_siren_sounds_though_the_line_is_down_and_the_gateway_is_killed(tmp_path: Path) -> None:
    panel, mqtt, page = Panel(), free_port(), free_port()
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "panel.toml").write_text(RULES, encoding="utf-8")
    config = tmp_path / "gateway.toml"

    async def alarms() -> list[tuple[str, str]]:
        status = await asyncio.to_thread(get_json, f"http://127.0.0.1:{page}/status.json")
        return [(row["rule"], row["state"]) for row in status["alarms"]] if status else [("", "")]

    async def shown(*want: tuple[str, str]) -> None:
        await until(lambda: _same(alarms(), list(want)))

    with RtuBus(panel, baud=19200) as bus:
        config.write_text(CONFIG.format(mqtt=mqtt, page=page, port=bus.port), encoding="utf-8")
        gateway = start(config)
        broker = EmbeddedBroker(
            tmp_path / "broker",
            host="127.0.0.1",
            port=mqtt,
            users=[LISTENER],
        )
        listener = Listener(mqtt)
        try:
            async with asyncio.timeout(60):
                await shown()
                panel.coils[DOOR] = panel.coils[MAINS] = True
                await until(lambda: panel.coils[SIREN])
                await shown(("intruder", "active"), ("no-power", "active"))
                gateway.kill()
                gateway.wait()
                gateway = start(config)
                await shown(("intruder", "active"), ("no-power", "active"))
                acknowledged = await asyncio.to_thread(_tell, config, "acknowledge", "panel-1/no-power/0/wang")
                assert "refused" in acknowledged, "there is none of that onset"
                acknowledged = await asyncio.to_thread(_tell, config, "acknowledge", "panel-1/no-power//wang")
                assert "done" in acknowledged
                await shown(("intruder", "active"), ("no-power", "acknowledged"))
                gateway.kill()
                gateway.wait()
                gateway = start(config)
                await shown(("intruder", "active"), ("no-power", "acknowledged"))
                panel.coils[DOOR] = False
                await until(lambda: not panel.coils[SIREN])
                # Said again at most to a relay that was switched when the gateway died.
                assert [on for on, _ in itertools.groupby(panel.switched)] == [True, False]
                tasks = [asyncio.create_task(part.run()) for part in (broker, listener)]
                await listener.ready.wait()
                broker.set_users([LISTENER, User("gw-1", ["kerb/gw-1/+"], [], "secret")])
                await until(lambda: len(listener.changes) >= 4)
                gateway.send_signal(signal.SIGTERM)
                gateway.wait()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            if gateway.poll() is None:
                os.kill(gateway.pid, signal.SIGKILL)
                gateway.wait()
    story = [(each["rule"], each["number"], each["state"], each["by"]) for each in listener.changes]
    assert sorted(story) == [
        ("intruder", 1, "active", ""),
        ("intruder", 2, "cleared", ""),
        ("no-power", 1, "active", ""),
        ("no-power", 2, "acknowledged", "wang"),
    ]
    assert len({(each["rule"], each["onset_ms"]) for each in listener.changes}) == 2


LAB = """
[alarms]
rules = "rules"

[[links]]
name = "panel"
kind = "modbus"
serial = {{ port = "{port}", baud = 19200 }}
devices = [{{ thing = "panel-1", model = "advantech-adam-6060", address = "3" }}]
"""


async def test_an_alarm_of_a_gateway_is_answered_at_the_hub(tmp_path: Path) -> None:
    panel = Panel()
    with RtuBus(panel, baud=19200) as bus:
        lab = Lab(tmp_path / "lab", links=LAB.format(port=bus.port))
        lab.prepare()
        (lab.directory / "rules").mkdir()
        (lab.directory / "rules" / "panel.toml").write_text(RULES, encoding="utf-8")
        api = f"http://127.0.0.1:{lab.hub_port}/api/v1/alarms"

        async def shown(*want: tuple[str, str]) -> list[dict[str, Any]]:
            while True:
                found = await asyncio.to_thread(get_json, api)
                if found is not None and [(each["rule"], each["state"]) for each in found] == list(want):
                    return list(found)
                await asyncio.sleep(0.1)

        try:
            lab.start("hub")
            await asyncio.to_thread(lab.enrol)
            lab.start("gateway")
            async with asyncio.timeout(90):
                await shown()
                panel.coils[DOOR] = True
                [alarm] = await shown(("intruder", "active"))
                assert (alarm["name"]["zh"], alarm["priority"], alarm["origin"]) == ("门被强行打开", "high", GATEWAY)
                await until(lambda: panel.coils[SIREN])
                here = f"{api}/intruder/panel-1/{alarm['onset_ms']}"
                async with httpx.AsyncClient() as client:
                    for deed, state in (
                        ({"path": "acknowledge", "who": "wang"}, "acknowledged"),
                        ({"path": "shelve", "who": "wang", "seconds": 3600}, "shelved"),
                    ):
                        path = deed.pop("path")
                        assert (await client.post(f"{here}/{path}", json=deed)).status_code == 202
                        await shown(("intruder", state))
                    await until(lambda: not panel.coils[SIREN])
                    panel.coils[DOOR] = False
                    await shown()
                    panel.coils[DOOR] = True
                    await shown(("intruder", "shelved"))
                    story = (await client.get(here)).json()
                assert [(each["what"], each["state"]) for each in story["deeds"]] == [
                    ("acknowledge", "done"), ("shelve", "done"),
                ]  # fmt: skip
                assert [(each["state"], each["who"]) for each in story["changes"]] == [
                    ("active", ""), ("acknowledged", "wang"), ("shelved", "wang"), ("cleared", ""),
                ]  # fmt: skip
                assert panel.switched == [True, False], "what is shelved makes no noise"
        finally:
            await asyncio.to_thread(lab.stop)


async def _same(asked: Awaitable[Any], want: Any) -> bool:
    return await asked == want


def _tell(config: Path, command: str, value: str) -> str:
    line = [sys.executable, "-m", "edge", "command", str(config), "alarms", command, value]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False).stdout
