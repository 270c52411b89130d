"""`kerb edge provision` before it speaks to a device: what it is given, and what it says of that."""

import argparse
from collections.abc import Callable
from pathlib import Path

import pytest

from edge.config import Config, load_config
from edge.errors import ConfigError
from edge.provision import command_line, words
from edge.provision.arguments import add_arguments
from edge.provision.conversation import reason_of
from edge.provision.settings import Place, Wifi, block, device_config, place_of
from hardware import boards
from protocols.errors import DecodeError, OtherDeviceError, RefusedError
from protocols.provisioning import wire
from runtime.label import Label

GATEWAY = """\
[gateway]
id = "gw"
name = { en = "Ward 3", zh = "三病区" }
[uplink]
kind = "mqtt"
url = "mqtt://127.0.0.1:1883"
"""
GPS = """
[[links]]
name = "gps"
kind = "serial"
port = "/dev/null"
devices = [{ thing = "gps", model = "u-blox-neo-m8" }]
"""
BROKER = """
[[links]]
name = "devices"
kind = "mqtt"
host = "%s"
port = 9000
devices = [{ thing = "wearable-7", model = "kerb-wearable" }]
"""


@pytest.fixture
def config(tmp_path: Path) -> Callable[[str], Config]:
    def load(links: str) -> Config:
        (tmp_path / "gateway.toml").write_text(GATEWAY + links)
        return load_config(tmp_path / "gateway.toml", whole=False)

    return load


def options(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(["--serial", "/dev/null", *arguments])


def test_devices_are_told_where_others_find_the_broker(config: Callable[[str], Config]) -> None:
    assert place_of(config(BROKER % "192.0.2.1"), None) == Place("192.0.2.1", 9000)
    assert place_of(config(BROKER % "0.0.0.0"), "gw.example") == Place("gw.example", 9000)
    assert place_of(config(GPS), "gw.example") == Place("gw.example", 8884)
    for links, host in ((BROKER % "127.0.0.1", "127.0.0.1"), (BROKER % "0.0.0.0", "0.0.0.0"), (GPS, "0.0.0.0")):
        with pytest.raises(ConfigError, match=f"--host where devices reach this gateway's broker; {host}"):
            place_of(config(links), None)


def test_the_config_of_a_device_is_its_boards(config: Callable[[str], Config]) -> None:
    made = device_config(boards.find("kerb-dispenser"), "d", Place("h", 1), Wifi("ward", "secret"), {"lock": 1})
    assert made["app"] == "dispenser"
    assert [pin["pin"] for pin in made["board"]["pins"] if pin["name"] == "button"] == [15]
    assert (made["wifi"], made["settings"]) == ({"ssid": "ward", "password": "secret"}, {"lock": 1})
    assert "wifi" not in device_config(boards.find("pico-2-w"), "d", Place("h", 1), None, {})


def test_the_gateways_block_is_what_its_config_lacks(config: Callable[[str], Config], tmp_path: Path) -> None:
    """And with it the config is right."""
    assert block(config(BROKER % "0.0.0.0"), "wearable-7", "kerb-wearable") == ""
    alone = BROKER.replace("devices =", "#") % "0.0.0.0"
    for links in (GPS, GPS + alone):
        lacking = block(config(GPS) if links == GPS else config(GPS + BROKER % "0.0.0.0"), "w-8", "kerb-wearable")
        grown = config(links + lacking)
        assert "w-8" in {device.thing for _, device in grown.devices()}
    unknown = block(config(GPS), "w-9", "esp32-s3-devkit")
    assert 'model = ""  # the name of a device file' in unknown


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    label = tmp_path / "label"
    for text, said in (("", "no label was given"), ("http://", "no label of Kerb's"), ("kerb-label-1:a:B", "scan it")):
        label.write_text(text)
        with pytest.raises(ConfigError, match=said):
            command_line._label(label)
    label.write_text(Label("a", bytes(16)).text())
    assert command_line._label(label) == Label("a", bytes(16))
    with pytest.raises(ConfigError, match="--settings"):
        command_line._settings(label)
    label.write_text("[]")
    with pytest.raises(ConfigError, match="must hold a JSON object"):
        command_line._settings(label)
    with pytest.raises(ConfigError, match="--wifi-password-file"):
        command_line._wifi(options("--wifi", "x", "--wifi-password-file", str(tmp_path / "none")))


@pytest.mark.parametrize("language", ["en_US.UTF-8", "zh_CN.UTF-8"])
def test_every_reason_has_words(language: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", language)
    said = {reason_of(RefusedError(reason, 60)) for reason in wire.REASONS}
    said |= {reason_of(OtherDeviceError("a", "b")), reason_of(DecodeError("it", "is bad"))}
    assert len(said) == len(wire.REASONS) + 2
    chinese = [any("\u4e00" <= letter <= "\u9fff" for letter in text) for text in said]
    assert all(chinese) if language.startswith("zh") else not any(chinese)


def test_both_languages_take_the_same_values() -> None:
    for key, (english, chinese) in words._WORDS.items():
        assert english.count("{") == chinese.count("{"), key
