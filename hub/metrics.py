"""The hub's figures in Prometheus's text format: each gateway's account, delays, messages, and those of ingest."""

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

from hub import ingest_metrics
from hub.errors import SetupError
from hub.feed import Feed
from hub.notify import directory
from hub.notify.outbox import GIVEN_UP, SENT, WAITING, Outbox
from hub.store.accounts import Account
from hub.store.lag import middle_ms
from hub.store.querying import Querying
from hub.store.schema import FILE
from hub.store.writing import now_ms
from runtime import metrics
from runtime.metrics import LAG_S, Metric

# Term of the equation -> what it counts
_COUNTED = {
    "read": "Readings that the gateway has counted",
    "suppressed": "Readings left out by deadbands",
    "stored": "Readings stored",
    "declared_lost": "Readings that gave way, and are declared as lost",
}
_HELD = {
    "buffered": "Readings that the gateway holds, as far as it has told",
    "missing": "Readings that are in no term of the equation",
    "twice": "Readings stored beyond what was read",
}


async def exposition(store: Querying, outbox: Outbox, feed: Feed, data: Path) -> str:
    """All figures. Raises StoreError if the store cannot be read."""
    ingest = await ingest_metrics.ask(data)
    what = "Whether ingest answers, has its session with the broker and can write the store"
    storing = metrics.gauge("kerb_hub_storing", what, float(not ingest.failure))
    listening = (
        metrics.gauge("kerb_hub_feed_clients", "Who listens to the event feed", feed.clients),
        metrics.counter("kerb_hub_feed_let_go", "Clients of it that were let go since they were too slow", feed.let_go),
    )
    own = await asyncio.to_thread(
        lambda: metrics.text(
            [
                storing,
                *_of_store(store, data),
                *_of_notifications(outbox, data),
                *listening,
                *metrics.process("kerb_web"),
            ]
        )
    )
    return own + ingest.text


def _of_store(store: Querying, data: Path) -> Iterator[Metric]:
    accounts = store.accounts()
    for term, what in _COUNTED.items():
        yield metrics.counter(f"kerb_hub_readings_{term}", what, _by_gateway(accounts, term), "gateway")
    for term, what in _HELD.items():
        yield metrics.gauge(f"kerb_hub_readings_{term}", what, _by_gateway(accounts, term), "gateway")
    yield metrics.gauge(
        "kerb_hub_packs_set_aside", "Packs that cannot be read", _by_gateway(accounts, "set_aside"), "gateway"
    )
    what = "Packs acknowledged by a store that was lost, or restored from a backup"
    yield metrics.gauge("kerb_hub_packs_skipped", what, _by_gateway(accounts, "skipped"), "gateway")
    yield from _of_statuses(accounts)
    states = {gateway.id: float(gateway.state == "online") for gateway in store.gateways()}
    yield metrics.gauge("kerb_hub_gateway_online", "Whether the gateway's session is up", states, "gateway")
    offline: dict[str, float] = dict.fromkeys(states, 0)
    for thing in store.things():
        offline[thing.gateway] += thing.state == "offline"
    yield metrics.gauge("kerb_hub_things_offline", "Things of the gateway that are offline", offline, "gateway")
    lags = [(middle_ms(bucket) / 1000, count) for bucket, count in store.lags()]
    yield metrics.histogram("kerb_hub_lag_seconds", "From made to stored, of readings not buffered", LAG_S, lags)
    yield metrics.counter("kerb_hub_messages", "What became of messages", store.counters(), "outcome")
    yield metrics.gauge("kerb_hub_disk_free_bytes", "Room for the store", shutil.disk_usage(data).free)
    yield metrics.gauge("kerb_hub_store_bytes", "Size of the store's file", (data / FILE).stat().st_size)


def _of_notifications(outbox: Outbox, data: Path) -> Iterator[Metric]:
    counts = outbox.counts()
    yield metrics.gauge("kerb_hub_notifications_waiting", "Notifications that are being tried", counts[WAITING])
    yield metrics.counter("kerb_hub_notifications_sent", "Notifications that were taken", counts[SENT])
    yield metrics.counter("kerb_hub_notifications_given_up", "Notifications that nobody took", counts[GIVEN_UP])
    try:
        directory.load(data)
        usable = True
    except SetupError:
        usable = False
    what = "Whether notify.toml can be used; without one nobody is to be told"
    yield metrics.gauge("kerb_hub_notifications_usable", what, float(usable))


def _of_statuses(accounts: list[Account]) -> Iterator[Metric]:
    heard = {account.gateway: account.heard for account in accounts if account.heard}
    held = {
        (gateway, lane): float(each.readings)
        for gateway, one in heard.items()
        for lane, each in one.status.lanes.items()
    }
    yield metrics.gauge("kerb_hub_gateway_held_readings", "What the last status says is held", held, "gateway", "lane")
    for name, what, values in (
        ("heard_timestamp_seconds", "When the last status came", {g: one.heard_ms / 1000 for g, one in heard.items()}),
        (
            "oldest_held_age_seconds",
            "Age of the oldest reading that the gateway is known to hold",
            {account.gateway: (account.oldest_age_ms(now_ms()) or 0) / 1000 for account in accounts},
        ),
        ("outbox_bytes", "Size of the gateway's outbox", {g: one.status.bytes_held for g, one in heard.items()}),
        ("outbox_limit_bytes", "How large it may grow", {g: one.status.max_bytes for g, one in heard.items()}),
        (
            "outbox_failing",
            "Whether the gateway's outbox cannot be written",
            {g: float(bool(one.status.failure)) for g, one in heard.items()},
        ),
    ):
        yield metrics.gauge(f"kerb_hub_gateway_{name}", what, values, "gateway")


def _by_gateway(accounts: list[Account], term: str) -> dict[str, float]:
    return {account.gateway: float(getattr(account, term)) for account in accounts}
