"""The hub's alarms: what gateways tell, in whatever order it comes; and the routes."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient

from hub import problems
from hub.alarm_route import make_router
from hub.deed_work import DeedWork
from hub.deeds import Deeds
from hub.notify.outbox import Outbox
from hub.store.alarm_book import AlarmBook, AlarmNow
from hub.store.events import EventLog
from hub.store.writing import Writer
from protocols.alarm import METRIC, Change, Escalation, Identity, encode_following
from protocols.command import Result, decode_request
from protocols.custody import Header
from protocols.pack import Body, Column
from tests.hub.conftest import EPOCH, parsed
from tests.hub.gateway import ID, birth

T = 1_900_000_000_000
FEVER = Identity("fever", "wearable-1", T)
ALIAS = 900
RULE = {"id": "fever", "version": 2, "priority": "high", "name": {"en": "Fever", "zh": "发热"}}


def born(
    *, alarms: Sequence[dict[str, Any]] = (), instance: str = "first", time_ms: int = T, rules: Any = (RULE,)
) -> bytes:
    """The demo's gateway, with a rule."""
    said = json.loads(birth(instance=instance, time_ms=time_ms))
    name = {"en": METRIC, "zh": METRIC}
    said["streams"].append({"alias": ALIAS, "thing": "wearable-1", "metric": METRIC, "unit": "", "name": name})
    return json.dumps(said | {"rules": list(rules), "alarms": list(alarms)}).encode()


def change(number: int, state: str, time_ms: int, *, by: str = "", identity: Identity = FEVER) -> Change:
    return Change(identity, number, state, time_ms, "high", 2, by, "temperature", 38.9)


@pytest.fixture
def told(writer: Writer) -> Any:
    """Has the store told of changes, each in a pack of its own."""
    with writer.transaction():
        writer.write_birth(parsed(born()))
    seqs = iter(range(1, 1000))

    def tell(*following: Change | Escalation | str) -> None:
        for each in following:
            text = each if isinstance(each, str) else encode_following(each)
            column = Column(ALIAS, [T if isinstance(each, str) else each.time_ms], [0], [text])
            seq = next(seqs)
            with writer.transaction():
                writer.write_pack(ID, "urgent", Header(EPOCH, seq, 1, EPOCH, False, seq), Body([column], [], {}, {}))

    return tell


@pytest.fixture
def book(data: Path, writer: Writer) -> AlarmBook:
    return AlarmBook(data)


def states(book: AlarmBook) -> list[tuple[str, str, str]]:
    return [(alarm.rule, alarm.thing, alarm.state) for alarm in book.open()]


def test_an_alarm_is_as_its_last_change_says_whatever_comes_first(told: Any, book: AlarmBook) -> None:
    told(change(1, "active", T))
    [alarm] = book.open()
    assert alarm == AlarmNow(
        "fever", "wearable-1", T, {"en": "Fever", "zh": "发热"}, ID, "active", "high", 2, T, "temperature", 38.9
    )
    told(change(3, "cleared", T + 9000))  # what was held back in an outage comes after what is new
    assert book.open() == []
    told(change(2, "acknowledged", T + 5000, by="wang"), change(1, "active", T))
    assert book.open() == []
    told(Escalation(FEVER, 0, ("nurse",), T), Escalation(FEVER, 1, ("nurse", "doctor"), T + 3000))
    found = book.one(*FEVER)
    assert found is not None
    alarm, changes, escalations = found
    assert (alarm.state, alarm.changed_ms) == ("cleared", T + 9000)
    assert [(each.state, each.time_ms, each.who) for each in changes] == [
        ("active", T, ""), ("acknowledged", T + 5000, "wang"), ("cleared", T + 9000, ""),
    ]  # fmt: skip
    assert [(each.step, each.to) for each in escalations] == [(0, ["nurse"]), (1, ["nurse", "doctor"])]


def test_a_text_that_is_no_change_is_a_reading_and_no_more(told: Any, book: AlarmBook) -> None:
    told("not a change", '{"rule": 5}', change(1, "active", T))
    assert states(book) == [("fever", "wearable-1", "active")]


def test_what_needs_somebody_comes_first(told: Any, book: AlarmBook) -> None:
    def at(rule: str, onset_ms: int, state: str, priority: str) -> Change:
        identity = Identity(rule, "wearable-1", onset_ms)
        return change(1, state, onset_ms, identity=identity)._replace(priority=priority)

    told(
        at("a", T, "shelved", "high"),
        at("b", T + 2, "active", "low"),
        at("c", T + 1, "active", "high"),
        at("d", T, "active", "high"),
    )
    assert [alarm.rule for alarm in book.open()] == ["d", "c", "b", "a"]
    assert [alarm.rule for alarm in book.all(thing=None, before_ms=T + 2, limit=2)] == ["c", "d"]
    assert book.all(thing="meter-1", before_ms=T + 9, limit=9) == []


def test_a_gateway_that_has_lost_its_memory_ends_what_it_knows_nothing_of(
    told: Any, book: AlarmBook, writer: Writer, data: Path
) -> None:
    other = Identity("sos", "wearable-1", T)
    told(change(1, "active", T), change(1, "active", T, identity=other))

    def rebirth(instance: str, time_ms: int, *identities: Identity) -> None:
        alarms = [each._asdict() for each in identities]
        with writer.transaction():
            writer.write_birth(parsed(born(alarms=alarms, instance=instance, time_ms=time_ms)))

    rebirth("first", T + 1, other)  # of the same program: its changes are on their way
    assert len(states(book)) == 2
    rebirth("second", T, other)  # its clock says that the alarm came after this
    assert len(states(book)) == 2
    rebirth("third", T + 1, other)
    assert states(book) == [("sos", "wearable-1", "active")]
    ended = EventLog(data).after(0, 10)[-1].content
    assert (ended["rule"], ended["state"], ended["number"]) == ("fever", "cleared", 1), "those who follow hear of it"
    told(change(2, "active", T + 5000))
    assert len(states(book)) == 2, "and its own word counts again"


def test_a_transaction_that_failed_leaves_no_alarm(told: Any, book: AlarmBook, writer: Writer) -> None:
    column = Column(ALIAS, [T], [0], [encode_following(change(1, "active", T))])

    def fail() -> None:
        with writer.transaction():
            writer.write_pack(ID, "urgent", Header(EPOCH, 50, 1, EPOCH, False, 50), Body([column], [], {}, {}))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert book.open() == []
    told(change(1, "active", T))
    assert len(book.open()) == 1


@asynccontextmanager
async def routes(book: AlarmBook, data: Path) -> AsyncIterator[Callable[..., Awaitable[Any]]]:
    """Asks: a path below the alarms', and what to post; the JSON that comes."""
    app = FastAPI()
    problems.install(app)
    app.include_router(make_router(book, Deeds(data), Outbox(data)))
    async with AsyncClient(transport=ASGITransport(app), base_url="http://hub") as client:

        async def ask(path: str, **post: Any) -> Any:
            url = f"/api/v1/alarms{path}"
            return (await client.post(url, json=post) if post else await client.get(url)).json()

        yield ask


async def test_the_routes(told: Any, book: AlarmBook, data: Path) -> None:
    told(change(1, "active", T), change(2, "acknowledged", T + 1, by="wang"))
    async with routes(book, data) as ask:
        [alarm] = await ask("")
        assert (alarm["name"]["zh"], alarm["state"], alarm["value"]) == ("发热", "acknowledged", 38.9)
        assert await ask("/history?limit=1") == [alarm]
        assert await ask(f"/history?before={T}") == await ask("/history?thing=meter-1") == []
        story = await ask(f"/fever/wearable-1/{T}")
        assert [each["state"] for each in story["changes"]] == ["active", "acknowledged"]
        for path, status in ((f"/fever/wearable-1/{T + 1}", 404), ("/history?limit=0", 422), ("/fever/a.b/1", 422)):
            assert (await ask(path))["status"] == status


async def test_what_people_do_is_written_down_and_done(told: Any, book: AlarmBook, data: Path, writer: Writer) -> None:
    told(change(1, "active", T))
    deeds = Deeds(data)
    work = DeedWork(deeds, writer)
    here = f"/fever/wearable-1/{T}"
    async with routes(book, data) as ask:
        for path, body in (
            (f"{here}/acknowledge", {"who": "a b"}),
            (f"{here}/shelve", {"who": "wang", "seconds": 86_401}),
            (f"{here}/comment", {"who": "wang"}),
        ):
            assert (await ask(path, **body))["status"] == 422
        assert (await ask(f"/fever/wearable-1/{T + 1}/acknowledge", who="wang"))["status"] == 404
        deed = await ask(f"{here}/acknowledge", who="wang", comment="on my way")
        assert (deed["state"], deed["what"], deed["comment"]) == ("queued", "acknowledge", "on my way")
        await ask(f"{here}/shelve", who="li", seconds=1800)
        await ask(f"{here}/comment", who="li", comment="measured again: 37.1")
        at_ms = deed["time_ms"]
        commands = [(topic, decode_request(payload)) for topic, payload in work.due(at_ms)]
        assert [(topic, each.thing, each.command, each.value) for topic, each in commands] == [
            (f"g/{ID}/cmd", "alarms", "acknowledge", f"wearable-1/fever/{T}/wang"),
            (f"g/{ID}/cmd", "alarms", "shelve", "wearable-1/fever/1800/li"),
        ]
        assert work.due(at_ms + 1000) == []
        assert len(work.due(at_ms + 6000)) == 2, "the gateway has not answered"
        first, second = (each.key for _, each in commands)
        for result in (
            Result(first, "done", "", T, T),
            Result(second, "refused", "no", None, T),
            Result(first, "failed", "later", None, T),
            Result("door-1", "done", "", None, T),
        ):
            work.result(result)
        assert work.due(at_ms + 60_000) == []
        story = await ask(here)
        assert [(each["what"], each["who"], each["state"], each["reason"]) for each in story["deeds"]] == [
            ("acknowledge", "wang", "done", ""), ("shelve", "li", "refused", "no"), ("comment", "li", "done", ""),
        ]  # fmt: skip


def test_a_deed_about_no_alarm_is_refused_and_one_that_nobody_does_expires(
    told: Any, data: Path, writer: Writer
) -> None:
    told(change(1, "active", T))
    deeds = Deeds(data)
    work = DeedWork(deeds, writer)
    deeds.add("acknowledge", ("fever", "wearable-1", T + 5), who="wang", time_ms=T)
    deeds.add("acknowledge", FEVER, who="wang", time_ms=T)
    assert len(work.due(T)) == 1
    assert [deed.state for deed in deeds.about("fever", "wearable-1", T + 5)] == ["refused"]
    assert work.due(T + 3_600_001) == []
    assert [deed.state for deed in deeds.about(*FEVER)] == ["expired"]
