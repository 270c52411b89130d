"""The boards: each may be built, each mistake is found, and pages, pictures and images are made from their files."""

import json
import tomllib
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from hardware import __main__ as hardware
from hardware import board_pages, boards, build, signing, wiring
from hardware.boards import Board
from hardware.drawing import draw
from protocols import image, lms
from runtime.toml import TomlFileError


@pytest.mark.parametrize("name", boards.names())
def test_a_board_may_be_built_and_its_picture_shows_every_pin(name: str) -> None:
    board = boards.find(name)
    assert wiring.problems(board) == []
    assert board.board.model == name
    text = " ".join(ElementTree.fromstring(draw(board)).itertext())
    for pin, _, _, _ in wiring.uses(board):
        assert f"GPIO{pin}" in text.split()


def test_there_is_a_board_for_each_app_and_both_development_boards() -> None:
    assert {"esp32-s3-devkit", "pico-2-w"} <= set(boards.names())
    custom = {boards.find(name).board.app for name in boards.names() if name.startswith("kerb-")}
    assert custom == {"wearable", "sensor_node", "dispenser"}


def test_the_pages_are_those_of_the_files() -> None:
    stored = {path.name: path.read_text(encoding="utf-8") for path in board_pages.PAGES.iterdir()}
    assert stored == board_pages.files(), "run ./kerb docs"


def board_with(change: dict[str, Any], *, name: str = "kerb-wearable") -> Board:
    """A board with parts of its file changed; a key is a path such as `i2c.0.scl`."""
    table = tomllib.loads((boards.BOARDS / f"{name}.toml").read_text(encoding="utf-8"))
    for path, value in change.items():
        *above, last = path.split(".")
        place: Any = table
        for step in above:
            place = place[int(step)] if isinstance(place, list) else place[step]
        if value is None:
            del place[last]
        else:
            place[last] = value
    return Board.model_validate(table)


MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"chips.0.int_pin": 5}, "pin 5 (interrupt of max30102): is SCL of I2C 0 already"),
    ({"i2c.0.scl": 27}, "pin 27 (SCL of I2C 0): the ESP32-S3 has no such pin"),
    ({"i2c.0.sda": 46}, "pin 46 (SDA of I2C 0): must be low when the ESP32-S3 starts"),
    ({"pins.1.pin": 0}, "pin 0 (vibration): must be high when the ESP32-S3 starts"),
    ({"i2c.0.scl": 19}, "belongs to USB"),
    ({"i2c.0.scl": 43}, "belongs to the console"),
    ({"pins.0.use": "analog", "pins.0.pin": 21}, "pin 21 (sos): has no converter"),
    ({"pins.0.pull": None}, "an input that nothing holds needs a pull"),
    ({"i2c.0.pullup_ohm": None}, "I2C 0: has no pull-up resistors"),
    ({"i2c.0.pullup_ohm": 100000}, "not between 1000 and 10000"),
    ({"chips.0.bus": 1}, "there is no I2C 1"),
    ({"chips.0.int_pullup_ohm": None}, "max30102: its interrupt output is an open drain"),
    ({"chips.0.address": 0x58}, "max30102: cannot have the address 0x58, only 0x57"),
    ({"chips.2.chip": "max30205", "chips.2.address": 0x48}, "max30205: 0x48 on I2C 0 is max30205's already"),
    ({"chips.2.chip": "bme280", "chips.2.address": 0x76}, "bme280: has no interrupt output"),
    ({"i2c.0.freq_hz": 1000000}, "I2C 0 is faster than its 400000 Hz"),
    ({"rails.0.limit_ma": 300}, "rail 3v3: 524.825 mA at the worst, but it gives 300 mA"),
    ({"rails.0.volts": 5.0}, "ESP32-S3: 5 V of rail 3v3 are not between 3 and 3.6"),
    ({"chips.1.rail": "1v8"}, "rail 1v8: there is none"),
    ({"storage.journal_kb": 2048}, "beside the firmware there are 1536 kB"),
    ({"chips.0.chip": "max3010"}, "there is no part max3010"),
]


@pytest.mark.parametrize(("change", "said"), MISTAKES, ids=[said for _, said in MISTAKES])
def test_a_mistake_is_found(change: dict[str, Any], said: str) -> None:
    found = wiring.problems(board_with(change))
    assert any(said in problem for problem in found), found


def test_pins_that_an_rp2_block_cannot_use() -> None:
    found = wiring.problems(board_with({"i2c.0.sda": 6, "i2c.0.scl": 5}, name="pico-2-w"))
    assert found == ["I2C 0: SDA of this block cannot be led to pin 6"]


def test_an_input_only_pin() -> None:
    micro = boards.micro("ESP32-S3").model_copy(update={"input_only": (10,)})
    [problem] = wiring._pin_problems(boards.find("kerb-wearable"), micro)
    assert problem == "pin 10 (vibration): can only be an input"


def test_an_unknown_board_or_microcontroller() -> None:
    with pytest.raises(boards.BoardError, match="there is no board toaster; there are esp32-s3-devkit"):
        boards.find("toaster")
    with pytest.raises(boards.BoardError, match="there is no microcontroller Z80"):
        boards.micro("Z80")


def test_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert hardware.main(["check"]) == 0
    assert hardware.main(["draw", "pico-2-w", "--out", str(tmp_path / "pico.svg")]) == 0
    ElementTree.parse(tmp_path / "pico.svg")
    assert hardware.main(["check", "toaster"]) == 2
    monkeypatch.setattr(boards, "BOARDS", tmp_path)
    text = (board_pages.PAGES.parent.parent / "hardware" / "boards" / "pico-2-w.toml").read_text(encoding="utf-8")
    (tmp_path / "bad.toml").write_text(text.replace("pullup_ohm = 4700", ""), encoding="utf-8")
    assert hardware.main(["check"]) == 1
    assert "I2C 0: has no pull-up resistors" in capsys.readouterr().out
    (tmp_path / "worse.toml").write_text(text.replace("scl = 5", "slc = 5"), encoding="utf-8")
    with pytest.raises(TomlFileError, match="scl: is required"):
        boards.find("worse")


def test_an_image_is_built_signed_and_patched(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key, first, second = tmp_path / "key", tmp_path / "1", tmp_path / "2"
    assert build.main(["key", str(key)]) == 0
    line = ["build", "kerb-wearable", "wearable", "--key", str(key)]
    assert build.main([*line, "--version", "1", "--out", str(first)]) == 0
    assert build.main([*line, "--version", "2", "--out", str(second), "--from", str(first)]) == 0
    manifest = (second / "manifest.json").read_bytes()
    lms.verify((tmp_path / "key.pub").read_bytes(), manifest, (second / "signature").read_bytes())
    made = image.decode_manifest(manifest)
    assert (made.board, made.app, made.version) == ("kerb-wearable", "wearable", 2)
    assert "firmware/hal/esp32.mpy" in dict(made.files)
    assert not any("sim" in path or "rp2" in path for path, _ in made.files)
    assert (second / "from-1.patch").stat().st_size < 100
    root = second / "files"
    assert json.loads((root / "slots.json").read_text()) == {"good": "a"}
    assert (root / "key.pub").read_bytes() == signing.public_key(key)
    lines = (second / "flash.txt").read_text().splitlines()
    assert lines.index("mpremote fs mkdir :a/firmware") < lines.index(
        "mpremote fs cp a/firmware/main.mpy :a/firmware/main.mpy"
    )
    assert {"mpremote fs cp main.py :main.py", "mpremote fs cp slots.py :slots.py"} <= set(lines)
    assert build.main([*line, "--version", "2", "--out", str(second)]) == 2
    assert "File exists" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["toaster", "wearable", "--version", "1"], "there is no board toaster"),
        (["kerb-wearable", "toast", "--version", "1"], "there is no app toast"),
        (["kerb-wearable", "wearable", "--version", "0"], "version, name or sha256 is out of range"),
    ],
)
def test_what_cannot_be_built(line: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert build.main(["build", *line, "--out", str(tmp_path / "out")]) == 2
    assert said in capsys.readouterr().err
