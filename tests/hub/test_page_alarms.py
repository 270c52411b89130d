"""The alarms on the live page, in headless Chromium: what needs somebody first, in both languages and widths."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from hub.deeds import Deeds
from hub.store.writing import Writer, now_ms
from protocols.alarm import Change, Identity, encode_following
from protocols.custody import Header
from protocols.pack import Body, Column
from runtime.process import free_port
from tests.hub.conftest import EPOCH, end_hub, parsed, start_hub
from tests.hub.gateway import ID
from tests.hub.test_alarms import ALIAS, RULE, born
from tests.hub.test_page import CHROMIUM, OPTIONS, Visit

pytestmark = pytest.mark.skipif(
    not CHROMIUM.exists(), reason=f"there is no {CHROMIUM}; install the Debian package chromium"
)
PULSE = {"id": "pulse", "version": 1, "priority": "medium", "name": {"en": "Pulse <high>", "zh": "心率过高"}}


class Hub:
    """A hub that has stored some alarms."""

    def __init__(self, data: Path):
        self.data = data
        self.began_ms = now_ms() - 300_000
        self._seq = 0
        self._write(
            self.change(RULE["id"], 1, "active", "high", "heart_rate", 39),
            self.change("pulse", 1, "acknowledged", "medium", "heart_rate", 141),
            self.change("gone", 1, "active", "low", "", None),
        )
        self.port, self.mqtt_port = free_port(), free_port()
        self.process = start_hub(data, self.port, self.mqtt_port)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def change(self, rule: object, number: int, state: str, priority: str, metric: str, value: int | None) -> Change:
        identity = Identity(str(rule), "wearable-1", self.began_ms)
        return Change(identity, number, state, self.began_ms + number, priority, 1, "", metric, value)

    def _write(self, *changes: Change) -> None:
        writer = Writer(self.data)
        with writer.transaction():
            writer.write_birth(parsed(born(rules=(RULE, PULSE))))
            for change in changes:
                self._seq += 1
                column = Column(ALIAS, [change.time_ms], [0], [encode_following(change)])
                header = Header(EPOCH, self._seq, 1, EPOCH, False, self._seq)
                writer.write_pack(ID, "urgent", header, Body([column], [], {}, {}))
        writer.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=str(CHROMIUM), args=OPTIONS)
        yield made
        made.close()


@pytest.fixture(scope="module")
def alarmed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    hub = Hub(tmp_path_factory.mktemp("alarmed"))
    yield hub
    end_hub(hub.process)


def test_what_needs_somebody_is_first_with_its_cause_and_age(browser: Browser, alarmed: Hub) -> None:
    with Visit(browser, alarmed.url) as visit:
        rows = visit.page.locator(".alarm-row")
        assert visit.page.locator(".alarms-title").inner_text() == "3 alarms"
        expect(rows.nth(0).locator(".age")).to_have_text("5 min ago")
        told = [row.split("\n") for row in rows.all_inner_texts()]
        assert told[0] == [
            "high", "Fever", "Wearable · wearable-1", "Heart rate 39 /min", "5 min ago", "active", "Acknowledge",
            "Shelve 30 min",
        ]  # fmt: skip
        assert [(row[0], row[1], row[-2], row[-1]) for row in told[1:]] == [
            ("low", "gone", "Acknowledge", "Shelve 30 min"),
            ("medium", "Pulse <high>", "acknowledged", "Shelve 30 min"),
        ]
        assert visit.page.locator('[data-stream="wearable-1.alarm_change"]').count() == 0
        assert visit.errors == []


def test_in_chinese_and_on_a_phone(browser: Browser, alarmed: Hub) -> None:
    with Visit(browser, alarmed.url, language="zh-CN", width=390) as visit:
        assert visit.page.locator(".alarms-title").inner_text() == "3 条告警"
        text = visit.page.locator(".alarm-row").first.inner_text()
        for word in ("高", "发热", "心率 39 次/分", "激活"):
            assert word in text
        assert not visit.scrolls_sideways()


def test_a_tap_writes_down_what_is_to_be_done(browser: Browser, alarmed: Hub) -> None:
    with Visit(browser, alarmed.url, width=390) as visit:
        row = visit.page.locator('[data-alarm="fever.wearable-1"]')
        assert all(button.bounding_box()["height"] >= 44 for button in row.locator("button").all())  # type: ignore[index]
        row.locator('[data-deed="acknowledge"]').click()
        expect(row.locator(".alarm-told")).to_have_text("under way …")
        [deed] = Deeds(alarmed.data).about("fever", "wearable-1", alarmed.began_ms)
        assert (deed.what, deed.who, deed.state) == ("acknowledge", "console", "queued")  # its gateway is not there
        assert visit.errors == []
