"""A record and the memory of it become durable together: with the real outbox, and gateways that die in between."""

import asyncio
from pathlib import Path
from typing import Any, cast
from zoneinfo import ZoneInfo

import pytest

from edge.config import load_config
from edge.links.base import Attached, Surroundings
from edge.links.ble import make_link
from edge.links.ble_records import RecordMemory
from edge.links.ble_session import Session
from edge.links.ble_time import DeviceClock
from edge.links.condition import Condition
from edge.outbox import Outbox
from edge.outbox_file import OutboxFile
from edge.pipeline import Pipeline
from edge.update_images import Images
from hardware.catalogue import catalogue
from hardware.sim.ble_meters import glucose_record
from protocols import gatt
from runtime.toml import TomlFileError
from tests.edge.ble_room import NOW_MS
from tests.edge.recorder import Recorder

METER = Attached("meter", catalogue()["accu-chek-guide"], "C0:00:00:00:00:10")


async def gateway(path: Path, records: range, *, commits: bool) -> tuple[int | None, int]:
    """A gateway that is given these records and is then ended or dies: the last number it knew, and readings held."""
    file = OutboxFile(path, max_bytes=1 << 20)
    outbox = Outbox(file, commit_ms=10)
    pipeline = Pipeline(outbox, {"meter": METER.model}, clock=lambda: NOW_MS)
    memory = RecordMemory("meter", file.cursors(), size=720)
    known = memory.last
    session = Session(
        cast(Any, None), METER, intake=pipeline, condition=Condition(METER, pipeline), memory=memory,
        clock=DeviceClock(lambda: NOW_MS, ZoneInfo("UTC")),
    )  # fmt: skip
    for number in records:
        session._arrived(gatt.GLUCOSE_MEASUREMENT, glucose_record(number, "2026-09-01T08:00:00", 100 + number))
    if commits:
        task = asyncio.create_task(outbox.run())
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.wait((task,))
    held = sum(file.holdings().by_thing().values())
    file.close()
    return known, held


async def test_a_record_is_remembered_if_and_only_if_it_is_stored(tmp_path: Path):
    path = tmp_path / "outbox.db"
    assert await gateway(path, range(5), commits=True) == (None, 5)
    assert await gateway(path, range(4, 8), commits=False) == (4, 5)  # dies before its commit: 5, 6, 7 are lost here
    assert await gateway(path, range(4, 8), commits=True) == (4, 8)  # and the device still has them
    assert await gateway(path, range(8), commits=True) == (7, 8)  # all of them again: nothing new


CONFIG = """
[gateway]
id = "g"
name = {{ en = "G", zh = "关" }}
[uplink]
kind = "mqtt"
url = "mqtt://127.0.0.1:1883"
[[links]]
name = "air"
kind = "ble"
{link}
devices = [{{ thing = "room", model = "{model}", address = "C0:00:00:00:00:01"{device} }}]
"""


def write(folder: Path, *, link: str = "", model: str = "shelly-blu-ht", device: str = "") -> Path:
    path = folder / "gateway.toml"
    path.write_text(CONFIG.format(link=link, model=model, device=device), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("changes", "key", "reason"),
    [
        ({"link": 'timezone = "Asia/Shangai"'}, "links.0.timezone", "is no time zone"),
        ({"device": ', key_file = "none"'}, "links.0.devices", "there is no such file"),
        ({"model": "nonin-3230", "device": ', key_file = "key"'}, "links.0.devices.0", "nonin-3230 is connected"),
    ],
)
def test_a_mistake_in_the_config_is_named(tmp_path: Path, changes: dict[str, str], key: str, reason: str):
    (tmp_path / "key").write_text("231d39c1d7cc1ab1aee224cd096db932\n")
    with pytest.raises(TomlFileError) as caught:
        load_config(write(tmp_path, **changes))
    assert caught.value.key == key
    assert reason in caught.value.reason


def test_the_link_is_made_as_the_config_says(tmp_path: Path):
    (tmp_path / "key").write_text("231d39c1d7cc1ab1aee224cd096db932\n")
    config = load_config(write(tmp_path, link='timezone = "Asia/Shanghai"', device=', key_file = "key"'))
    asked: list[Path] = []

    def secret(path: Path) -> str:
        asked.append(path)
        return config.path(path).read_text().strip()

    surroundings = Surroundings(
        intake=Recorder(),
        clock=lambda: NOW_MS,
        data=tmp_path,
        secret=secret,
        cursors=dict,
        on_committed=lambda _: None,
        images=Images(tmp_path),
        show_updates=lambda _: None,
    )
    assert make_link(cast(Any, config.links[0]), surroundings).name == "air"
    assert asked == [Path("key")]
