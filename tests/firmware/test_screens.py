"""The dispenser's screens, drawn by real MicroPython on the display's model, against a picture made independently."""

from pathlib import Path

import pytest

from firmware.apps import glyphs
from firmware.apps.texts import TEXTS
from firmware.drivers.ssd1309 import Ssd1309
from firmware.errors import DriverError
from hardware import fonts, plans
from hardware.sim.chips import ssd1309 as model
from hardware.sim.shims import machine, simboard
from protocols import medication
from protocols.medication import Medicine
from tests.firmware import screens
from tests.firmware.screens import HEIGHT, WIDTH, Dots, Screen, drawn

LANGUAGES = ("en", "zh")


@pytest.fixture(scope="module")
def shown() -> dict[str, list[Screen]]:
    return {language: drawn(language) for language in LANGUAGES}


def expected(screen: Screen) -> Dots:
    """The picture of the page's lines, straight from Unifont; raises IndexError where a dot would lie outside."""
    dots = [[0] * WIDTH for _ in range(HEIGHT)]
    top = 0
    for place, line in enumerate(screen.lines):
        scale = 2 if screen.large and place == 0 else 1
        heading = place == 0 and not screen.large
        wide = sum(8 if ord(character) < 127 else 16 for character in line) * scale
        assert wide <= WIDTH, f"{line!r} is cut off"
        left = (WIDTH - wide) // 2 if scale == 2 else 0
        for row in dots[top : top + 16] if heading else ():
            row[:] = [1] * WIDTH
        for character in line:
            picture = fonts.glyphs(character)
            width = 8 if ord(character) < 127 else 16
            for y in range(16 * scale):
                for x in range(width * scale):
                    at = y // scale * 2 + x // scale // 8
                    if picture[at] >> 7 - x // scale % 8 & 1:
                        dots[top + y][left + x] = 0 if heading else 1
            left += width * scale
        top += 16 * scale
    assert top <= HEIGHT, f"{screen.case}: {screen.lines} are too many lines"
    return dots


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_page_is_whole(shown: dict[str, list[Screen]], language: str, tmp_path: Path) -> None:
    (tmp_path / f"{language}.png").write_bytes(screens.sheet(shown[language]))  # to be looked at
    for screen in shown[language]:
        assert screen.dots == expected(screen), (screen.case, screen.lines)


@pytest.mark.parametrize(
    ("case", "wanted"),
    [
        ("due", {"en": ["08:00", "Aspirin", "100 mg, 1 tablet", "Metoprolol", "47.5 mg, half", "21 doses left",
                        "No alcohol", "ibuprofen", "Stand up slowly", "Press button"],
                 "zh": ["08:00", "阿司匹林肠溶片", "100毫克 1片", "琥珀酸美托洛尔缓", "半片", "剩余 21 份",
                        "不要饮酒", "布洛芬", "起身要慢", "请按按钮取药"]}),
        ("waiting", {"en": ["10:00", "Next 14:00", "20 doses left"], "zh": ["10:00", "下次 14:00", "剩余 20 份"]}),
        ("until tomorrow", {"en": ["Next Tue 08:00"], "zh": ["下次 周二 08:00"]}),
        ("on the tray", {"en": ["Take from tray", "20 doses left"], "zh": ["请从托盘取药", "剩余 20 份"]}),
        ("unsure", {"en": ["Did a dose fall?", "Yes: press", "No: hold 5 s", "Count unsure"],
                    "zh": ["药掉下来了吗？", "是：按一下", "否：按住5秒", "剩余数量不确定"]}),
        ("jammed", {"en": ["Wheel is stuck", "Dose came out?"], "zh": ["药轮卡住了", "药出来了吗？"]}),
        ("empty, due", {"en": ["No doses left", "Insert cartridge"], "zh": ["药已用完", "请装入新药盒"]}),
        ("missed", {"en": ["Missed 08:00"], "zh": ["漏服 08:00"]}),
        ("left on the tray", {"en": ["Old dose on tray", "Do not take it"], "zh": ["托盘有旧药", "不要服用"]}),
        ("no time", {"en": ["Clock is not set"], "zh": ["时钟未设置"]}),
        ("plan ended", {"en": ["Plan has ended"], "zh": ["用药计划已到期"]}),
        ("no plan", {"en": ["No plan yet", "还没有用药计划"], "zh": ["No plan yet", "还没有用药计划"]}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_state_says_what_matters(
    shown: dict[str, list[Screen]], case: str, wanted: dict[str, list[str]], language: str
) -> None:
    text = "\n".join(line for screen in shown[language] if screen.case == case for line in screen.lines)
    for part in wanted[language]:
        assert part in text


def test_no_page_of_a_question_shows_a_count(shown: dict[str, list[Screen]]) -> None:
    for language in LANGUAGES:
        for screen in shown[language]:
            if screen.case == "unsure":
                assert not any("21" in line or "20" in line for line in screen.lines)


def test_the_longest_texts_of_a_plan_are_whole() -> None:
    wide, narrow = "缓释" * 16, "x" * 32
    plan = plans.read(screens.PLAN)._replace(
        medicines=(Medicine((narrow, wide), ("y" * 16, "片" * 16)),) * 8,
        warnings=(("word " * 19 + "z", "不要" * 48),) * 6,
    )
    characters = medication.characters_of(plan)
    plan = plan._replace(characters=characters, glyphs=fonts.glyphs(characters))
    for language in LANGUAGES:
        for screen in drawn(language, plan):
            assert screen.dots == expected(screen)


def test_the_device_s_own_pictures_are_those_of_its_texts() -> None:
    assert fonts.DEVICE.read_text(encoding="utf-8") == fonts.device_module(fonts.device_texts())
    assert fonts.device_texts() == [text for pair in TEXTS.values() for text in pair]
    assert len(glyphs.WIDE_PICTURES) == 32 * len(glyphs.WIDE)


def test_the_picture_in_the_documentation_is_the_one_that_is_drawn(shown: dict[str, list[Screen]]) -> None:
    assert (fonts.ROOT / "docs" / "dispenser.png").read_bytes() == screens.documented(shown)


# --- the display ---


def test_only_rows_that_have_changed_are_sent() -> None:
    where = {"chip": "ssd1309", "bus": 0, "scl": 9, "sda": 8, "address": 0x3C}
    board = simboard.Board({"unique_id": "00", "chips": [where]}, tick_ms=0)
    simboard.install(board)
    sent: list[int] = []
    really = board.transfer
    board.transfer = lambda bus, address, written, count: (  # type: ignore[method-assign]
        sent.append(len(written)) or really(bus, address, written, count)
    )
    display = Ssd1309(machine.I2C(0, scl=machine.Pin(9), sda=machine.Pin(8)))
    display.start()
    chip = board.chips[0, 0x3C]
    assert chip.on
    assert chip.along
    assert sum(sent) > WIDTH * HEIGHT // 8
    sent.clear()
    display.buffer[3 * WIDTH + 5] = 0xA5
    display.show()
    assert max(sent) == WIDTH + 1
    assert len(sent) == 2
    assert chip.ram == display.buffer
    sent.clear()
    display.show()
    assert sent == []
    board.fail(0, 0x3C)
    display.buffer[0] = 1
    with pytest.raises(DriverError, match="ssd1309"):
        display.show()
    board.fail(0, 0x3C, failing=False)
    display.show()
    assert chip.ram == display.buffer


def test_the_model_takes_only_commands_that_there_are() -> None:
    with pytest.raises(ValueError, match="0x8d"):
        model.Ssd1309().i2c_write(b"\x00\x8d\x14")
