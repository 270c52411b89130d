"""The event feed of a running hub: what happens is told once and in order, through restarts, to whoever keeps up."""

import asyncio
import json
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from hub import feed, feed_route
from hub.feed import Feed
from hub.feed_route import EventStream
from hub.store.events import EventLog
from hub.store.writing import Writer, now_ms
from protocols.alarm import Identity
from protocols.reading import reading
from runtime.process import free_port
from tests.hub.conftest import RunningHub, end_hub, start_hub
from tests.hub.gateway import ID, Gateway, body
from tests.hub.test_alarms import T, change
from tests.hub.test_alarms import told as told  # noqa: PLC0414 - a fixture
from tests.hub.test_notify import RULES


class Told(NamedTuple):
    """One server-sent event."""

    kind: str
    id: int | None
    data: dict[str, Any]


def parsed_event(lines: list[str]) -> Told:
    fields = dict(line.split(": ", 1) for line in lines)
    return Told(fields["event"], int(fields["id"]) if "id" in fields else None, json.loads(fields["data"]))


@asynccontextmanager
async def listening(url: str, *things: str, after: int | None = None) -> AsyncIterator[AsyncIterator[Told]]:
    """A client of a hub's feed."""

    async def events(lines: AsyncIterator[str]) -> AsyncIterator[Told]:
        gathered: list[str] = []
        async for line in lines:
            if line and not line.startswith(":"):
                gathered.append(line)
            elif gathered:
                yield parsed_event(gathered)
                gathered = []

    headers = {} if after is None else {"last-event-id": str(after)}
    async with (
        httpx.AsyncClient(timeout=30) as client,
        client.stream("GET", f"{url}/api/v1/events", params={"thing": list(things)}, headers=headers) as answer,
    ):
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield events(answer.aiter_lines())


async def next_of(events: AsyncIterator[Told], *kinds: str) -> Told:
    """The next one of these kinds."""
    async with asyncio.timeout(30):
        async for each in events:
            if each.kind in kinds:
                return each
    raise AssertionError("it has ended")


async def test_what_happens_is_told_once_and_in_order_through_restarts(tmp_path: Path) -> None:
    data, port, mqtt_port = tmp_path / "hub", free_port(), free_port()
    url = f"http://127.0.0.1:{port}"
    (data / "rules").mkdir(parents=True)
    (data / "rules" / "own.toml").write_text(RULES, encoding="utf-8")
    process = await asyncio.to_thread(start_hub, data, port, mqtt_port)
    heard: list[Told] = []

    def put(value: float) -> None:
        gateway.put(body([("wearable-1", reading("heart_rate", value, "/min", time_ms=now_ms()))]))

    async def hear(events: AsyncIterator[Told], *want: tuple[str, str]) -> None:
        for kind, state in want:
            heard.append(await next_of(events, "alarm", "escalation", "gateway"))
            assert (heard[-1].kind, heard[-1].data.get("state", "")) == (kind, state)

    gateway = Gateway(data, mqtt_port)
    try:
        async with listening(url) as events, listening(url, "wearable-1") as values:
            assert (await next_of(events, "begin")).data == {"missed": False}
            running = asyncio.create_task(gateway.run())
            await hear(events, ("gateway", "online"))
            for value, want in ((80, []), (130, [("alarm", "active"), ("escalation", "")])):
                put(value)
                while (seen := await next_of(values, "reading")).data["value"] != value:
                    pass
                assert (seen.data["thing"], seen.data["metric"], seen.id) == ("wearable-1", "heart_rate", None)
                await hear(events, *want)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        put(80)
        process = await asyncio.to_thread(start_hub, data, port, mqtt_port)
        async with listening(url, after=heard[-1].id) as events:
            begin = await next_of(events, "begin")
            assert (begin.id, begin.data) == (heard[-1].id, {"missed": False})
            # Its line was cut: the hub may, or may not, have heard of that before it was killed.
            while heard[-1].kind != "alarm" or heard[-1].data["state"] != "cleared":
                heard.append(await next_of(events, "alarm", "escalation", "gateway"))
        everything = EventLog(data).after(0, 1000)
        assert [each.id for each in heard] == [each.id for each in everything][: len(heard)]
        async with listening(url, "wearable-1", after=0) as events:
            assert (await next_of(events, "begin")).data == {"missed": True}
            again = [await next_of(events, "alarm", "escalation") for _ in range(3)]
            assert again == [each for each in heard if each.kind != "gateway"]
            assert (await next_of(events, "reading")).data["thing"] == "wearable-1"
        running.cancel()
        await asyncio.wait((running,))
    finally:
        await asyncio.to_thread(end_hub, process)


async def test_requests_that_are_wrong_are_refused_and_the_feed_is_documented(running_hub: RunningHub) -> None:
    async with httpx.AsyncClient(base_url=running_hub.url) as client:
        for query, headers, field in (("?thing=a.b", {}, "thing"), ("", {"last-event-id": "x"}, "last-event-id")):
            answer = await client.get(f"/api/v1/events{query}", headers=headers)
            assert (answer.status_code, field in answer.text) == (422, True)
        schema = (await client.get("/openapi.json")).json()["paths"]["/api/v1/events"]["get"]
        assert list(schema["responses"]["200"]["content"]) == ["text/event-stream"]
    async with listening(running_hub.url, "wearable-1") as events:
        first = await next_of(events, "reading")
        assert (first.data["metric"], first.data["text"]) == ("heart_rate", "71.9")


async def test_many_clients_share_one_look(told: Any, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0
    after = EventLog.after

    def counted(self: EventLog, event: int, limit: int) -> Any:
        nonlocal looks
        looks += 1
        return after(self, event, limit)

    monkeypatch.setattr(EventLog, "after", counted)
    made = Feed(data)
    async with made.running():
        streams = [made.listen((), None) for _ in range(50)]
        for stream in streams:
            await anext(stream)
        await asyncio.sleep(0)
        before = looks
        told(change(1, "active", T))
        async with asyncio.timeout(20):
            found = {await anext(stream) for stream in streams}
        assert len(found) == 1
        assert looks - before <= 6, "not one a client"
        for stream in streams:
            await stream.aclose()
        assert made.clients == 0


async def test_a_client_that_does_not_keep_up_is_let_go_and_told_why(
    told: Any, data: Path, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "QUEUE", 5)
    made = Feed(data)
    async with made.running():
        slow, quick = made.listen((), None), made.listen((), None)
        await anext(slow)
        await anext(quick)
        for number in range(12):
            told(change(1, "active", T, identity=Identity("fever", "wearable-1", T + number)))
            async with asyncio.timeout(20):
                assert f'"onset_ms": {T + number}' in (await anext(quick)).decode()
        [end] = [each.decode() async for each in slow]
        assert end == 'event: end\ndata: {"reason": "too slow: more than 5 messages waited"}\n\n'
        assert (made.let_go, made.clients) == (1, 1)
        await quick.aclose()


async def test_a_client_that_reads_nothing_is_let_go(
    told: Any, data: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(feed_route, "_SEND_S", 0.05)
    made = Feed(data)

    async def full(part: object) -> None:
        await asyncio.Event().wait()

    async with made.running():
        stream = made.listen((), None)
        await anext(stream)
        async with asyncio.timeout(10):
            await EventStream(made, stream).stream_response(full)
    assert (made.clients, made.let_go) == (0, 1)
    assert "has read nothing" in caplog.text


async def test_a_line_that_is_quiet_is_alive(told: Any, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "ALIVE_S", 0.05)
    made = Feed(data)
    async with made.running():
        stream = made.listen((), None)
        await anext(stream)
        assert await anext(stream) == b": alive\n\n"
        await stream.aclose()


async def test_who_goes_away_is_forgotten(running_hub: RunningHub) -> None:
    def clients() -> int:
        text = httpx.get(f"{running_hub.url}/metrics", timeout=10).text
        return int(float(text.split("\nkerb_hub_feed_clients ")[1].split("\n")[0]))

    with socket.create_connection(("127.0.0.1", running_hub.port)) as line:
        line.sendall(b"GET /api/v1/events HTTP/1.1\r\nhost: hub\r\n\r\n")
        assert await asyncio.to_thread(line.recv, 100)
        while await asyncio.to_thread(clients) != 1:
            await asyncio.sleep(0.05)
    async with asyncio.timeout(20):
        while await asyncio.to_thread(clients):
            await asyncio.sleep(0.05)


def test_gateways_are_named(running_hub: RunningHub) -> None:
    first = EventLog(running_hub.data).after(0, 1)[0]
    assert (first.kind, first.thing, first.content["state"]) == ("gateway", ID, "online")
