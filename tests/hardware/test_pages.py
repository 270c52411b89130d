"""The devices' pages say what their files say, and their config blocks load."""

import re
from pathlib import Path

import pytest

from edge.config import load_config
from hardware.catalogue import catalogue
from hardware.pages import PAGES, pages

HEAD = """
[gateway]
id = "g"
name = { en = "G", zh = "G" }
[uplink]
kind = "mqtt"
url = "mqtt://127.0.0.1:1883"
"""


def test_the_pages_are_those_of_the_files() -> None:
    stored = {path.name: path.read_text(encoding="utf-8") for path in PAGES.glob("*.md")}
    assert stored == pages(), "run ./kerb docs"


@pytest.mark.parametrize("name", sorted(catalogue()))
def test_a_device_is_attached_as_its_page_says(name: str, tmp_path: Path) -> None:
    [block] = re.findall(r"```toml\n(.*?)```", pages()[f"{name}.md"], re.DOTALL)
    (tmp_path / "gateway.toml").write_text(HEAD + block)
    [link] = load_config(tmp_path / "gateway.toml").links
    assert [device.model for device in link.devices] == [name]


@pytest.mark.parametrize("name", sorted(catalogue()))
def test_a_page_names_all_that_the_file_has(name: str) -> None:
    text, model = pages()[f"{name}.md"], catalogue()[name]
    for part in (model.device.maker, model.device.name.en, model.device.name.zh, *model.metrics, *model.commands):
        assert part in text
    for example in model.examples:
        assert f"| {example.metric} | {example.value:g} |" in text
