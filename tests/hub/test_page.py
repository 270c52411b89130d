"""The live page in Debian's Chromium: what a person sees, in two languages, on a desk and on a phone."""

import contextlib
import os
import re
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from hub.store.schema import FILE, connect
from tests.hub.conftest import RunningHub, processes
from tests.hub.gateway import MODELS

CHROMIUM = Path("/usr/bin/chromium")
OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

pytestmark = pytest.mark.skipif(
    not CHROMIUM.exists(), reason=f"there is no {CHROMIUM}; install the Debian package chromium"
)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=OPTIONS)
        yield browser
        browser.close()


class Visit:
    """One open page, the hosts that it asked for anything, and the errors that its console showed."""

    def __init__(
        self, browser: Browser, url: str, *, width: int = 1440, language: str = "en-US", scheme: str = "light"
    ):
        self.context = browser.new_context(
            viewport={"width": width, "height": 850}, locale=language, color_scheme=scheme, service_workers="block"
        )
        self.page: Page = self.context.new_page()
        self.hosts: set[str] = set()
        self.errors: list[str] = []
        self.page.on("request", lambda request: self.hosts.add(urlsplit(request.url).netloc))
        self.page.on("websocket", lambda socket: self.hosts.add(urlsplit(socket.url).netloc))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda line: self.errors.append(line.text) if line.type == "error" else None)
        self.page.goto(url)
        self.page.wait_for_selector(".card, .swagger-ui .opblock")

    def __enter__(self) -> "Visit":
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()

    def tile(self, name: str) -> str:
        return self.page.locator(f'[data-stream="{name}"]').inner_text()

    def scrolls_sideways(self) -> bool:
        return bool(self.page.evaluate("document.documentElement.scrollWidth > window.innerWidth"))


def test_every_thing_has_a_card_with_its_values(chromium: Browser, running_hub: RunningHub) -> None:
    with Visit(chromium, running_hub.url) as visit:
        assert visit.page.locator(".card").count() == len(MODELS)
        assert visit.tile("wearable-1.heart_rate").split("\n")[:3] == ["Heart rate", "71.9", "/min"]
        assert visit.tile("meter-1.active_power").split("\n")[:3] == ["Active power", "1079", "W"]  # 900.2 + 1.5 x 119
        assert "no answer" in visit.tile("meter-1.voltage")
        assert "no value yet" in visit.tile("cuff-1.systolic")  # nor has anything else of it
        assert visit.page.locator('[data-stream="wearable-1.steps"]').count() == 0  # others of it have
        assert visit.page.locator(".figure-things .figure-value").inner_text() == "5"
        assert visit.page.locator(".figure-stored .figure-value").inner_text() == "360"
        assert visit.page.locator(".figure-duplicates .figure-value").inner_text() == "0"
        assert visit.page.locator(".gateways").inner_text().strip() == "Block 1 · online"
        assert not visit.page.locator(".alarms").is_visible()  # there are none
        assert visit.errors == []


def test_no_request_leaves_the_host(chromium: Browser, running_hub: RunningHub) -> None:
    for path in ("/", "/docs"):
        with Visit(chromium, running_hub.url + path) as visit:
            visit.page.wait_for_timeout(500)
            assert visit.hosts - {""} == {f"127.0.0.1:{running_hub.port}"}  # "": what the page carries in itself


def test_ages_grow_without_reloading_and_turn_colour(chromium: Browser, running_hub: RunningHub) -> None:
    with Visit(chromium, running_hub.url) as visit:
        age = visit.page.locator('[data-stream="wearable-1.heart_rate"] .age')
        expect(age).to_have_text(re.compile(r"^\d+ (s|min) ago$"))
        visit.page.clock.install()

        def after(seconds: float) -> None:
            """So long after the reading was made, however long the tests before this one took."""
            made = datetime.fromtimestamp(running_hub.now_ms / 1000, UTC)
            visit.page.clock.set_system_time(made + timedelta(seconds=seconds))
            visit.page.clock.run_for(1100)

        for seconds, text, fresh in (
            (30.5, "31 s ago", "fresh"),  # less than a gateway's heartbeat
            (100, "2 min ago", "late"),
            (7200, "2 h ago", "silent"),
        ):
            after(seconds)
            expect(age).to_have_text(text)
            expect(age).to_have_attribute("data-fresh", fresh)


def test_a_tap_draws_the_stream(chromium: Browser, running_hub: RunningHub) -> None:
    with Visit(chromium, running_hub.url) as visit:
        expect(visit.page.locator(".panel .name")).to_have_text("Heart rate")  # chosen by itself on a wide screen
        visit.page.click('[data-stream="meter-1.active_power"]')
        expect(visit.page.locator(".panel .name")).to_have_text("Active power")
        expect(visit.page.locator(".panel .model")).to_have_text("Energy meter")
        assert visit.page.locator(".summary-value").all_inner_texts() == ["900", "989", "1079"]
        assert visit.page.locator('.tile[aria-pressed="true"]').count() == 1
        assert visit.page.locator(".chart canvas").bounding_box()["height"] > 200  # type: ignore[index]
        visit.page.click('[data-range="1h"]')
        expect(visit.page.locator('[data-range="1h"]')).to_have_attribute("aria-pressed", "true")
        assert visit.errors == []


def test_chinese_by_the_browsers_language_and_by_the_switch(chromium: Browser, running_hub: RunningHub) -> None:
    with Visit(chromium, running_hub.url, language="zh-CN") as visit:
        assert visit.tile("wearable-1.heart_rate").split("\n")[:3] == ["心率", "71.9", "次/分"]
        assert visit.page.locator(".gateways").inner_text().strip() == "一号楼 · 在线"
        assert visit.page.evaluate("document.documentElement.lang") == "zh-CN"
        assert visit.page.locator("#popup span").all_text_contents() == ["连接已断开", "正在重新连接…"]
        visit.page.click(".language")
        expect(visit.page.locator('[data-stream="wearable-1.heart_rate"] .tile-name')).to_have_text("Heart rate")
        assert visit.page.evaluate("document.documentElement.lang") == "en"


def test_a_phone_shows_everything_in_its_width(chromium: Browser, running_hub: RunningHub) -> None:
    for language in ("en-US", "zh-CN"):
        with Visit(chromium, running_hub.url, width=390, language=language) as visit:
            assert not visit.scrolls_sideways()
            assert not visit.page.locator(".panel").is_visible()  # nobody has asked for a chart
            visit.page.click('[data-stream="meter-1.active_power"]')
            expect(visit.page.locator(".panel")).to_be_visible()
            assert not visit.scrolls_sideways()
            visit.page.click(".close")
            expect(visit.page.locator(".panel")).to_be_hidden()
            assert all(tile.bounding_box()["height"] >= 44 for tile in visit.page.locator(".tile").all())  # type: ignore[index]


def test_dark_by_the_persons_system_and_by_the_switch(chromium: Browser, running_hub: RunningHub) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    with Visit(chromium, running_hub.url, scheme="dark") as visit:
        dark = visit.page.evaluate(ground)
        visit.page.click(".theme")
        visit.page.wait_for_selector("body:not(.body--dark) .card")
        assert sum(map(int, re.findall(r"\d+", dark)[:3])) < 150
        assert sum(map(int, re.findall(r"\d+", visit.page.evaluate(ground))[:3])) > 600


def test_the_chosen_stream_outlives_a_change_of_the_language(chromium: Browser, running_hub: RunningHub) -> None:
    with Visit(chromium, running_hub.url, width=390) as visit:
        visit.page.click('[data-stream="meter-1.active_power"]')
        visit.page.wait_for_url("**/?stream=meter-1.active_power")
        visit.page.click(".close")
        visit.page.wait_for_url(running_hub.url + "/")
        visit.page.click('[data-stream="meter-1.active_power"]')
        visit.page.click(".language")
        expect(visit.page.locator(".panel .name")).to_have_text("有功功率")
        expect(visit.page.locator(".panel")).to_be_visible()


def test_custody_shows_the_equation_of_a_gateway(chromium: Browser, running_hub: RunningHub) -> None:
    with Visit(chromium, running_hub.url + "/custody") as visit:
        card = visit.page.locator('[data-gateway="block-1"]')
        assert [term.inner_text().split("\n") for term in card.locator(".term:visible").all()] == [
            ["490", "read"], ["360", "stored"], ["121", "suppressed"], ["5", "buffered"], ["4", "declared lost"],
        ]  # fmt: skip
        assert card.locator(".verdict:visible").all_inner_texts() == ["Every reading is accounted for"]
        label = "490 read = 360 stored + 121 suppressed + 5 buffered + 4 declared lost"
        expect(card.locator(".bar")).to_have_attribute("aria-label", label)
        widths = [part.bounding_box()["width"] for part in card.locator(".part:visible").all()]  # type: ignore[index]
        assert widths[0] / widths[1] == pytest.approx(360 / 121, rel=0.1)
        assert min(widths) >= 5  # what is little can be seen, too
        assert card.locator(".fact-value").all_inner_texts()[:2] == ["1.5 min", "4.0 kB / 512 MB"]
        expect(visit.page.locator(".panel .panel-now")).to_have_text("5")
        assert visit.page.locator(".summary-value").all_inner_texts()[:2] == ["300", "1.5 min"]
        assert visit.page.locator(".chart canvas").bounding_box()["height"] > 200  # type: ignore[index]
        assert visit.errors == []
        assert visit.hosts - {""} == {f"127.0.0.1:{running_hub.port}"}


def test_custody_says_that_the_store_was_restored(chromium: Browser, running_hub: RunningHub) -> None:
    with (
        contextlib.closing(connect(running_hub.data / FILE)) as db,
        Visit(chromium, running_hub.url + "/custody", language="zh-CN") as visit,
    ):
        line = visit.page.locator(".restored")
        expect(line).to_be_hidden()
        db.execute("INSERT INTO restored VALUES (?, ?)", (running_hub.now_ms - 3_600_000, running_hub.now_ms))
        db.execute("INSERT INTO skipped VALUES ('block-1', 'bulk', 1, 6, 17, 0)")
        try:
            expect(line).to_be_visible()
            expect(line).to_contain_text("已知 12 个数据包")
        finally:
            db.execute("DELETE FROM restored")
            db.execute("DELETE FROM skipped")
        expect(line).to_be_hidden()


def test_custody_on_a_phone_and_in_chinese(chromium: Browser, running_hub: RunningHub) -> None:
    with Visit(chromium, running_hub.url, width=390, language="zh-CN") as visit:
        visit.page.click('a:has-text("去向")')
        card = visit.page.locator('[data-gateway="block-1"]')
        expect(card.locator(".verdict").first).to_have_text("每条读数都有着落")
        assert card.locator(".term-name:visible").all_inner_texts() == [
            "已读",
            "已存",
            "已抑制",
            "缓存中",
            "已声明丢失",
        ]
        assert not visit.scrolls_sideways()
        assert not visit.page.locator(".panel").is_visible()  # nobody has asked for a chart
        card.locator(".card-head").click()
        expect(visit.page.locator(".panel")).to_be_visible()
        visit.page.wait_for_url("**/custody?gateway=block-1")
        assert not visit.scrolls_sideways()
        visit.page.click(".close")
        expect(visit.page.locator(".panel")).to_be_hidden()


def test_every_page_says_that_nothing_is_stored(chromium: Browser, running_hub: RunningHub) -> None:
    (ingest,) = processes("hub", "ingest", "--data", str(running_hub.data))
    with Visit(chromium, running_hub.url + "/custody") as visit:
        alarm = visit.page.locator(".alarm")
        assert not alarm.is_visible()
        os.kill(ingest, signal.SIGSTOP)
        try:
            expect(alarm).to_have_text("Nothing can be stored now: ingest does not answer", timeout=15_000)
        finally:
            os.kill(ingest, signal.SIGCONT)
        expect(alarm).to_be_hidden(timeout=15_000)
