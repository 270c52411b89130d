"""The gateway's local page: what a technician on site needs to see, as a page, as JSON and for Prometheus."""

import contextlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from html import escape
from typing import Any

import uvicorn
from fastapi import FastAPI
from fastapi.responses import HTMLResponse, PlainTextResponse

from edge import alarm_list
from edge.alarms import Alarms
from edge.backlog import Backlog
from edge.commands import MOST_PENDING, Commands
from edge.config import Config
from edge.metrics import exposition
from edge.outbox import Outbox
from edge.pipeline import Pipeline, ThingState
from edge.supervisor import Supervisor
from edge.updates import TAKING, Updates
from edge.uplink.base import UplinkState
from hardware.catalogue import Metric
from protocols.reading import GOOD, STALE, Reading, quality_name, to_text

_TEXTS = {
    "en": {
        "read": "Read", "suppressed": "Suppressed",
        "buffered": "Buffered", "held": "Held for the hub", "oldest": "oldest",
        "full": "The storage cannot be written", "uplink": "Uplink", "online": "online",
        "offline": "offline", "waiting": "waiting", "stale": "stale",
        "firmware": "Firmware", "offered": "is offered", "taking": "is being taken", "trial": "on trial",
        "current": "current", "failed": "failed its trial, the one before runs", "refused": "refused by the device",
        "damages": "The storage was damaged; what could be read of it is used, the rest set aside. Times",
    },
    "zh": {
        "read": "已读", "suppressed": "已抑制",
        "buffered": "缓存中", "held": "等待送达", "oldest": "最早",
        "full": "存储无法写入", "uplink": "上行链路", "online": "在线",
        "offline": "离线", "waiting": "等待中", "stale": "已过时",
        "firmware": "固件版本", "offered": "已提供新版本", "taking": "正在接收新版本", "trial": "试运行中",
        "current": "已是最新", "failed": "试运行失败，已恢复到先前的版本", "refused": "设备拒绝新版本",
        "damages": "存储曾损坏；可读部分已恢复使用，其余已另存。次数",
    },
}  # fmt: skip

_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;margin:0;padding:1rem;background:#f6f7f9;color:#1b2430}
h1{font-size:1.25rem;margin:0 0 .25rem}p{margin:.25rem 0 1rem;color:#5b6675}
article{background:#fff;border-radius:12px;padding: .75rem 1rem;box-shadow:0 1px 2px #0002}
b.online{color:#0a7d43}b.offline{color:#b3261e}b.waiting{color:#8a5a00}
.values{display:grid;grid-template-columns:repeat(auto-fill,minmax(9rem,1fr));gap:.5rem;margin:.5rem 0}
.values span{display:block;color:#5b6675;font-size:.8rem}.values strong{font-variant-numeric:tabular-nums}
main{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(22rem,100%),1fr));gap:.75rem}
.counts{color:#5b6675;font-size:.85rem}
@media(prefers-color-scheme:dark){body{background:#12161c;color:#e6eaf0}article{background:#1c222b}
p,.counts,.values span{color:#9aa5b4}}
"""


class _Server(uvicorn.Server):
    """A server that leaves the signals to the program."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Page:
    """Serves /, /status.json and /metrics on the address of the config."""

    def __init__(
        self,
        config: Config,
        *,
        pipeline: Pipeline,
        outbox: Outbox,
        backlog: Backlog,
        commands: Commands,
        alarms: Alarms,
        updates: Sequence[Updates],
        uplink: UplinkState,
        supervisor: Supervisor,
    ):
        self._config = config
        self._pipeline = pipeline
        self._outbox = outbox
        self._backlog = backlog
        self._commands = commands
        self._alarms = alarms
        self._updates = updates
        self._uplink = uplink
        self._supervisor = supervisor

    async def run(self) -> None:
        """Serve until cancelled."""
        app = FastAPI(title=f"Kerb gateway {self._config.gateway.id}", docs_url=None, redoc_url=None)
        app.add_api_route("/", self._html, response_class=HTMLResponse)
        app.add_api_route("/status.json", self.status)
        app.add_api_route("/metrics", self._metrics, response_class=PlainTextResponse)
        page = self._config.page
        settings = uvicorn.Config(
            app, host=page.host, port=page.port, log_level="warning", access_log=False, lifespan="off"
        )
        await _Server(settings).serve()

    async def status(self) -> dict[str, Any]:
        """Everything the page shows. Per thing: what is not suppressed was stored, is buffered, or is declared lost."""
        now = await self._backlog.status(past=False)
        outbox = self._outbox
        return {
            "gateway": self._config.gateway.id,
            "things": self._things(),
            "counters": dict(self._pipeline.counters),
            "lanes": {
                name: {
                    "readings": lane.readings,
                    "oldest_age_ms": max(0, now.time_ms - (lane.oldest_ms or now.time_ms)),
                }
                for name, lane in now.lanes.items()
            },
            "uplink": vars(self._uplink),
            "outbox": {
                "epoch": outbox.epoch,
                "bytes": outbox.bytes_held,
                "max_bytes": outbox.max_bytes,
                "disk_free": shutil.disk_usage(self._config.path(self._config.gateway.data)).free,
                "uncommitted": outbox.uncommitted(),
                "failing": bool(outbox.failure),
                "failure": outbox.failure,
                "damages": outbox.damages,
            },
            "alarms": alarm_list.rows(self._alarms.present()),
            "updates": {thing: row for updates in self._updates for thing, row in updates.states().items()},
            "outputs": {"failures": self._alarms.outputs.failures},
            "commands": {"pending": self._commands.pending(), "limit": MOST_PENDING},
            "parts": {name: vars(state) for name, state in self._supervisor.states.items()},
        }

    def _things(self) -> dict[str, dict[str, Any]]:
        names = {(stream.thing, stream.metric): stream.name for stream in self._pipeline.streams}
        totals = self._outbox.tally.totals()
        holdings = self._outbox.holdings
        buffered = holdings.by_thing()
        pending, untold = self._pipeline.pending(), self._pipeline.suppressed()
        things = {}
        for thing, state in self._pipeline.things.items():
            read, suppressed = totals.get(thing, (0, 0))
            things[thing] = {
                "model": state.model.device.model,
                "name": state.model.device.name.model_dump(),
                "state": state.state,
                "reason": state.reason,
                "read": read + pending[thing] + untold[thing],
                "suppressed": suppressed + untold[thing],
                "stored": holdings.stored[thing],
                "buffered": buffered.get(thing, 0) + pending[thing],
                "declared_lost": holdings.declared_lost[thing],
                "counters": dict(state.counters),
                "last": {
                    metric: {
                        "name": names[thing, metric].model_dump(),
                        "text": to_text(reading.value),
                        "state": _state(state.model.metrics.get(metric), reading),
                        "unit": reading.unit,
                        "quality": quality_name(quality_of(state, reading)),
                        "time_ms": reading.time_ms,
                    }
                    for metric, reading in state.latest().items()
                },
            }
        return things

    async def _metrics(self) -> str:
        return exposition(await self.status(), self._outbox.commit_s)

    async def _html(self, lang: str = "") -> str:
        languages = [lang] if lang in _TEXTS else ["en", "zh"]
        return render(await self.status(), self._config.gateway.name.model_dump(), languages)


def render(status: dict[str, Any], name: dict[str, str], languages: list[str]) -> str:
    """The page as HTML, in one language or in both."""

    def say(key: str) -> str:
        return " ".join(_TEXTS[language].get(key, key) for language in languages)

    articles = []
    for thing, row in status["things"].items():
        values = "".join(
            f"<div><span>{escape(' '.join(last['name'][language] for language in languages))}</span>"
            f"<strong>{escape(_shown(last, languages))} {escape(last['unit'].removeprefix('1'))}</strong></div>"
            for last in row["last"].values()
        )
        title = " ".join(row["name"][language] for language in languages)
        articles.append(
            f"<article><b>{escape(title)}</b> · {escape(thing)} · "
            f'<b class="{row["state"]}">{say(row["state"])}</b> {escape(row["reason"])}'
            f'<div class="values">{values}</div><div class="counts">'
            + " · ".join(f"{say(key)} {row[key]}" for key in ("read", "suppressed", "buffered"))
            + f"</div>{_update(status['updates'].get(thing), say)}</article>"
        )
    line = status["uplink"]
    state = "online" if line["online"] else "offline"
    heading = " ".join(name[language] for language in languages)
    return (
        f'<!doctype html><html lang="{languages[0]}"><meta charset="utf-8"><meta http-equiv="refresh" content="2">'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><title>{escape(heading)}</title>'
        f"<style>{_STYLE}</style><h1>{escape(heading)} · {escape(status['gateway'])}</h1>"
        f'<p>{say("uplink")}: <b class="{state}">{say(state)}</b> {escape(line["reason"])}{_held(status, say)}</p>'
        f"{_failures(status, say)}{alarm_list.html(status['alarms'], languages)}<main>{''.join(articles)}</main>"
    )


def _update(row: dict[str, Any] | None, say: Callable[[str], str]) -> str:
    """The firmware of a device, and how far it is with another one."""
    if row is None:
        return ""
    told = f"{say('firmware')} {row['version']}"
    if row["state"]:
        told += f" · {row['wanted']}: {say(row['state'])}"
        told += f" {row['percent']} %" if row["state"] == TAKING else ""
    return f'<div class="counts">{told} {escape(row["reason"])}</div>'


def _held(status: dict[str, Any], say: Callable[[str], str]) -> str:
    """How much waits, and since when: what a technician asks first while the line is down."""
    readings = sum(lane["readings"] for lane in status["lanes"].values())
    oldest_s = max(lane["oldest_age_ms"] for lane in status["lanes"].values()) // 1000
    return f" · {say('held')}: {readings:,}" + (
        f" ({say('oldest')}: {timedelta(seconds=oldest_s)})" if readings else ""
    )


def quality_of(state: ThingState, reading: Reading) -> int:
    """What a device said last is stale once it is gone: the page goes on showing it."""
    return STALE if state.state == "offline" and reading.quality == GOOD else reading.quality


def _state(metric: Metric | None, reading: Reading) -> dict[str, str] | None:
    """The names of a value that is a state."""
    states = metric.states if metric and metric.states else {}
    value = reading.value
    return states[value].model_dump() if isinstance(value, int) and value in states else None


def _shown(last: dict[str, Any], languages: list[str]) -> str:
    shown = " ".join(last["state"][language] for language in languages) if last["state"] else last["text"]
    if not shown:
        return str(last["quality"])
    stale = last["quality"] == quality_name(STALE)
    return f"{shown} ({' '.join(_TEXTS[language]['stale'] for language in languages)})" if stale else str(shown)


def _failures(status: dict[str, Any], say: Callable[[str], str]) -> str:
    """What a person must see before anything else: readings that are not safe."""
    failure, damages = status["outbox"]["failure"], status["outbox"]["damages"]
    told = [f"{say('full')}: {escape(failure)}"] if failure else []
    told += [f"{say('damages')}: {damages}"] if damages else []
    return "".join(f'<p><b class="offline">{each}</b></p>' for each in told)
