"""An alarm panel on a serial line of a real gateway, told what to do by a real hub, and seen by name on both."""

import asyncio
import json
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

from bench.parts.lab import Lab
from hardware.sim.block import GATEWAY
from hardware.sim.rtu import RtuBus
from protocols.modbus import exception_response, parse_request, read_response

PANEL = """
[[links]]
name = "panel"
kind = "modbus"
serial = {{ port = "{port}", baud = 19200 }}
devices = [{{ thing = "panel-1", model = "advantech-adam-6060", address = "3" }}]
"""


class Panel:
    """Unit 3: six inputs and six relays as coils. `written`: what it was told, in order."""

    def __init__(self) -> None:
        self.coils = dict.fromkeys([*range(6), *range(16, 22)], False)
        self.written: list[tuple[int, bool]] = []

    def __call__(self, unit: int, pdu: bytes) -> bytes | None:
        if unit != 3:
            return None
        request = parse_request(pdu)
        if request.function == 5:
            on = pdu[3:5] == b"\xff\x00"
            self.coils[request.address] = on
            self.written.append((request.address, on))
            return pdu
        span = range(request.address, request.address + request.quantity)
        if request.function != 1 or not set(span) <= self.coils.keys():
            return exception_response(request.function, 2 if request.function == 1 else 1)
        bits = sum(self.coils[place] << number for number, place in enumerate(span))
        return read_response(1, bits.to_bytes((len(span) + 7) // 8, "little"))


def told(lab: Lab, *words: str) -> "subprocess.CompletedProcess[str]":
    line = [sys.executable, "-m", "hub", "command", "--data", str(lab.hub_data), GATEWAY, "panel-1", *words]
    return subprocess.run(
        [*line, "--mqtt-port", str(lab.mqtt_port)], capture_output=True, text=True, timeout=60, check=False
    )


async def got(lab: Lab, metric: str, value: object) -> dict[str, Any]:
    """The stream at the hub, once it has that value."""
    url = f"http://127.0.0.1:{lab.hub_port}/api/v1/latest"
    while True:
        with await asyncio.to_thread(urllib.request.urlopen, url) as answer:
            for stream in json.load(answer):
                if (
                    (stream["thing"], stream["metric"]) == ("panel-1", metric)
                    and stream["latest"]
                    and stream["latest"]["value"] == value
                ):
                    return stream
        await asyncio.sleep(0.1)


async def test_a_relay_is_switched_from_the_hub_once_and_everybody_sees_it(tmp_path: Path) -> None:
    panel = Panel()
    with RtuBus(panel, baud=19200) as bus:
        lab = Lab(tmp_path / "lab", links=PANEL.format(port=bus.port))
        lab.prepare()
        try:
            lab.start("hub")
            await asyncio.to_thread(lab.enrol)
            lab.start("gateway")
            async with asyncio.timeout(60):
                await got(lab, "relay_2", False)
                done = await asyncio.to_thread(told, lab, "switch_relay_2", "1", "--key", "door-1")
                assert (done.returncode, done.stdout) == (0, "done, reads back true (key door-1)\n")
                assert panel.coils[17]
                stream = await got(lab, "relay_2", True)
                assert stream["states"]["1"] == {"en": "closed", "zh": "闭合"}
                again = await asyncio.to_thread(told, lab, "switch_relay_2", "1", "--key", "door-1")
                assert again.stdout == done.stdout
                for words, said in (
                    (("switch_relay_2", "2"), "refused"),
                    (("open_door", "1"), "refused"),
                ):
                    refused = await asyncio.to_thread(told, lab, *words)
                    assert refused.returncode == 1
                    assert refused.stdout.startswith(said)
                page = f"http://127.0.0.1:{lab.page_port}/?lang=zh"
                with await asyncio.to_thread(urllib.request.urlopen, page) as answer:
                    assert "闭合" in answer.read().decode()
            assert panel.written == [(17, True)]
        finally:
            await asyncio.to_thread(lab.stop)
