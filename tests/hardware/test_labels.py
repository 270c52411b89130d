"""Labels: what a scanner reads from the picture is what the device was given."""

import io
import json
import stat
from pathlib import Path

import pytest
import zxingcpp
from PIL import Image
from playwright.sync_api import sync_playwright

from hardware import boards, build, labels
from runtime.label import Label
from tests.hub.test_page import CHROMIUM, OPTIONS


@pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no {CHROMIUM}; install the Debian package chromium")
def test_a_scanner_reads_the_secret_that_the_device_was_given(tmp_path: Path) -> None:
    assert build.main(["label", "wearable-7", "kerb-wearable", "--out", str(tmp_path / "labels")]) == 0
    picture, file = tmp_path / "labels" / "wearable-7.svg", tmp_path / "labels" / "wearable-7.label.json"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=OPTIONS)
        page = browser.new_page()
        page.goto(picture.as_uri())
        shown = page.evaluate("document.documentElement.textContent")
        [code] = zxingcpp.read_barcodes(Image.open(io.BytesIO(page.screenshot())))
        browser.close()
    given = json.loads(file.read_text())
    assert Label.parse(code.text) == Label("wearable-7", bytes.fromhex(given["secret"]))
    assert (given["device"], given["board"], given["button"]) == ("wearable-7", "kerb-wearable", None)
    assert "wearable-7" in shown
    assert given["secret"] not in picture.read_text()


def test_a_label_is_for_its_owners_eyes_and_made_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = labels.make(tmp_path, "door-1", boards.find("kerb-dispenser"))
    for path in made:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(made[1].read_text())["button"] == 15
    before = made[1].read_bytes()
    assert build.main(["label", "door-1", "kerb-dispenser", "--out", str(tmp_path)]) == 2
    assert "a device keeps its secret" in capsys.readouterr().err
    assert made[1].read_bytes() == before
    assert build.main(["label", "door 1", "kerb-dispenser", "--out", str(tmp_path)]) == 2
    assert "cannot name a device" in capsys.readouterr().err
    assert build.main(["label", "door-2", "kerb-toaster", "--out", str(tmp_path)]) == 2
    assert "there is no board kerb-toaster" in capsys.readouterr().err
    assert len(list(tmp_path.iterdir())) == 2
