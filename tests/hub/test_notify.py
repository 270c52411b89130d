"""Who is told of alarms: real web and mail servers that fail, hang and redirect; processes killed in the midst."""

import asyncio
import json
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from hub.authority import Authority
from hub.errors import SetupError
from hub.notify import directory, sending, work
from hub.notify.outbox import GIVEN_UP, SENT, WAITING, Outbox
from hub.notify.work import Notifier
from hub.store.events import EventLog
from hub.store.writing import Writer, now_ms
from protocols.alarm import Escalation, Identity
from protocols.reading import reading
from runtime.process import free_port
from tests.hub.conftest import ROOT, end_hub, start_hub
from tests.hub.gateway import Gateway, body
from tests.hub.receiver import HANG, SECRET, Receiver, mail_server
from tests.hub.test_alarms import FEVER, T, change
from tests.hub.test_alarms import told as told  # noqa: PLC0414 - a fixture


def program(url: str, name: str = "desk", **more: Any) -> str:
    lines = "\n".join(f"{key} = {json.dumps(value)}" for key, value in more.items())
    return f'[people.{name}]\nwebhook = {{ url = "{url}/kerb", secret_file = "secret" }}\n{lines}\n'


def write(data: Path, text: str, *, name: str = "notify.toml") -> None:
    data.mkdir(parents=True, exist_ok=True)
    (data / name).write_text(text, encoding="utf-8")
    (data / name).chmod(0o600)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as made:
        yield made


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "_FIRST_GAP_S", 0.02)
    monkeypatch.setattr(sending, "TIMEOUT_S", 2.0)


@asynccontextmanager
async def notifying(data: Path) -> AsyncIterator[Outbox]:
    """A notifier at work within this process."""
    task = asyncio.create_task(Notifier(data).run())
    try:
        yield Outbox(data)
    finally:
        task.cancel()
        await asyncio.wait((task,))


async def ended(outbox: Outbox, **counts: int) -> None:
    """Wait until there are so many notices of each state."""
    async with asyncio.timeout(20):
        while outbox.counts() != {WAITING: 0, SENT: 0, GIVEN_UP: 0} | counts:
            await asyncio.sleep(0.02)


async def test_those_whom_a_rule_names_are_told_and_then_how_it_went_on(
    told: Any, data: Path, receiver: Receiver
) -> None:
    write(data, SECRET, name="secret")
    groups = '[groups]\nward = ["nurse", "desk"]\n'
    low_only = program(receiver.url, "porter", priorities=["low"])
    write(
        data,
        program(receiver.url, "nurse", language="zh", timezone="Asia/Shanghai")
        + program(receiver.url)
        + low_only
        + groups,
    )
    told(
        change(1, "active", T),
        Escalation(FEVER, 0, ("ward", "porter", "ghost"), T),
        Escalation(FEVER, 0, ("ward", "porter", "ghost"), T),  # told twice by the gateway
        change(2, "acknowledged", T + 60_000, by="wang"),
        change(2, "acknowledged", T + 60_000, by="wang"),
    )
    async with notifying(data) as outbox:
        await ended(outbox, sent=4, given_up=1)
    assert len(receiver.calls) == 4
    said = {(call.body["to"], call.body["type"]): call for call in receiver.calls}
    assert said.keys() == {(who, what) for who in ("nurse", "desk") for what in ("escalation", "alarm")}
    raised = said["nurse", "escalation"]
    assert raised.key == f"fever.wearable-1.{T}.escalation-0-{T}.nurse.webhook"
    assert raised.path == "/kerb"
    assert raised.body["subject"] == f"Kerb: 高：发热，{raised.body['thing_name']['zh']}"
    assert "2030-03-18 01:46:40 Asia/Shanghai" in raised.body["text"]
    assert "temperature 38.9" in raised.body["text"]
    assert said["desk", "alarm"].body["text"].startswith("The alarm Fever was acknowledged by wang.")
    want = FEVER._asdict() | {"state": "acknowledged", "number": 2, "who": "wang"}
    assert {key: said["desk", "alarm"].body[key] for key in want} == want
    [nobody] = [each for each in Outbox(data).about(*FEVER) if each.state == GIVEN_UP]
    assert (nobody.person, nobody.reason) == ("ghost", "nobody in notify.toml has this name")


async def test_what_fails_hangs_or_redirects_is_tried_again(
    told: Any, data: Path, receiver: Receiver, quick: None
) -> None:
    write(data, SECRET, name="secret")
    write(data, program(receiver.url, all=True))
    receiver.answers = [500, HANG, 302, 429]
    told(change(1, "active", T))
    async with notifying(data) as outbox:
        await ended(outbox, sent=1)
    assert [(call.path, call.key) for call in receiver.calls] == [
        ("/kerb", f"fever.wearable-1.{T}.change-1-active.desk.webhook")
    ] * 5
    assert all(call.body == receiver.calls[0].body for call in receiver.calls)
    [notice] = Outbox(data).about(*FEVER)
    assert notice.tries == 5


async def test_it_is_given_up_in_the_end_and_the_reason_is_kept(
    told: Any, data: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(data, SECRET, name="secret")
    write(data, "give_up_minutes = 1\n" + program(receiver.url, all=True))
    monkeypatch.setattr(work, "gap_s", lambda tries: 120)
    receiver.answers = [410, 503]
    told(change(1, "active", T), change(2, "cleared", T + 1))
    async with notifying(data) as outbox:
        await ended(outbox, given_up=2)
    assert [each.reason for each in Outbox(data).about(*FEVER)] == ["answered 410", "answered 503"]


async def test_what_is_too_old_is_not_sent(data: Path, receiver: Receiver) -> None:
    write(data, SECRET, name="secret")
    write(data, "give_up_minutes = 5\n" + program(receiver.url, all=True))
    writer = Writer(data, clock=lambda: now_ms() - 600_000)
    with writer.transaction():
        writer._alarms.change("", change(1, "active", T))
    writer.close()
    async with notifying(data) as outbox:
        await ended(outbox, given_up=1)
    assert receiver.calls == []
    assert Outbox(data).about(*FEVER)[0].reason == "too old when it could first be sent"


async def test_one_who_does_not_answer_keeps_nobody_waiting(told: Any, data: Path, receiver: Receiver) -> None:
    with Receiver() as dead:
        dead.answers = [HANG] * 10
        write(data, SECRET, name="secret")
        write(data, program(dead.url, "dead", all=True) + program(receiver.url, all=True))
        told(*(change(number, "active", T + number) for number in range(1, 6)))
        async with notifying(data):
            await asyncio.to_thread(receiver.wait, 5, 10)


async def test_nothing_is_told_by_a_wrong_file_and_all_of_it_once_it_is_right(
    told: Any, data: Path, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    write(data, SECRET, name="secret")
    write(data, "people = 5\n")
    told(change(1, "active", T))
    async with notifying(data) as outbox:
        async with asyncio.timeout(10):
            while "nobody is told until it can" not in caplog.text:
                await asyncio.sleep(0.02)
        write(data, program(receiver.url, all=True))
        await ended(outbox, sent=1)
    assert len(receiver.calls) == 1


def test_a_secret_is_for_its_owner_alone_and_never_in_the_log(
    data: Path, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    write(data, SECRET, name="secret")
    write(data, program(receiver.url))
    (data / "secret").chmod(0o644)
    found = directory.load(data)
    assert found is not None
    [problem] = found.problems(iter(["desk"]))
    assert "can be read by others; chmod 600" in problem
    (data / "secret").chmod(0o600)
    assert list(found.problems(iter(["ghost"]))) == ["ghost: rules name it, but there is no such person or group"]
    write(data, "whsec_c2hvcnQ=", name="secret")
    told = notify(data, "test", "desk")
    assert (told.returncode, "fewer than 24 bytes" in told.stdout) == (1, True)
    assert "c2hvcnQ" not in told.stdout + told.stderr


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("", "notify.toml: people: is required"),
        ('[people.a]\nemial = "a@b.cd"\n', "notify.toml:2: people.a.emial: there is no such key here"),
        ("[people.a]\n", "notify.toml:1: people.a: has neither email nor webhook"),
        ('[people.a]\nemail = "a@b.cd"\n', "there is no [server] for the people who have an email"),
        (program("http://example.org"), "must be https; http is for localhost only"),
        (program("ftp://example.org"), "must be https://HOST/PATH"),
        (program("https://a b.org"), "must be https://HOST/PATH"),
        (program("https://desk:99999"), "people.desk.webhook.url: Port out of range 0-65535"),
        (program("https://me:too@example.org"), "must have no user, password or fragment"),
        (program("http://localhost", language="de"), "people.desk.language: Input should be 'en' or 'zh'"),
        (program("http://localhost", timezone="Mars"), "people.desk.timezone: Mars is no time zone"),
        (program("http://localhost") + '[groups]\nall = ["x"]\n', "group all: x: there is no such person"),
        (program("http://localhost") + '[groups]\ndesk = ["desk"]\n', "desk is both a person and a group"),
        (
            program("http://localhost") + '[server]\nhost = "a.org"\nsender = "a@b.cd"\nsecurity = "none"\n',
            'security "none" is for localhost only',
        ),
        (
            program("http://localhost") + '[server]\nhost = "a.org"\nsender = "a@b.cd"\nusername = "a"\n',
            "username and password_file go together",
        ),
    ],
)
def test_a_mistake_is_named_with_its_key(data: Path, text: str, want: str) -> None:
    write(data, text)
    with pytest.raises(SetupError) as caught:
        directory.load(data)
    assert want in caught.value.reason


MAIL = """
[server]
host = "127.0.0.1"
port = {port}
sender = "kerb@example.org"
username = "kerb"
password_file = "smtp"
ca = "ca/ca.pem"

[people.nurse]
email = "nurse@example.org"
language = "zh"
"""


def notify(data: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    line = [sys.executable, "-m", "hub", "notify", *words, "--data", str(data)]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


async def test_a_mail_goes_by_starttls_in_the_language_of_who_reads_it(told: Any, data: Path, quick: None) -> None:
    authority, port = Authority(data), free_port()
    ca = authority.file.relative_to(data)
    write(data, "secret", name="smtp")
    write(data, MAIL.format(port=port).replace("ca/ca.pem", str(ca)))
    told(change(1, "active", T), Escalation(FEVER, 0, ("nurse",), T))
    with mail_server(authority, port) as mails:
        mails.refuse = "451 later"
        async with notifying(data) as outbox:
            async with asyncio.timeout(20):
                while not outbox.about(*FEVER) or outbox.about(*FEVER)[0].reason != "refused: 451 later":
                    await asyncio.sleep(0.02)
            mails.refuse = ""
            await ended(outbox, sent=1)
            [mail] = mails.wait(1)
            assert (mail["To"], mail["From"], mail["Importance"]) == ("nurse@example.org", "kerb@example.org", "high")
            assert mail["Subject"].startswith("Kerb: 高：发热，")
            assert mail["Message-ID"].endswith("@example.org>")
            assert "告警：发热。" in mail.get_content()
            mails.refuse = "550 nobody"
            told(change(2, "cleared", T + 1))
            await ended(outbox, sent=1, given_up=1)
    assert Outbox(data).about(*FEVER)[1].reason == "refused: 550 nobody"


def test_a_mail_server_without_tls_or_of_another_ca_is_told_nothing(data: Path, tmp_path: Path) -> None:
    authority, port = Authority(data), free_port()
    ca = authority.file.relative_to(data)
    write(data, "secret", name="smtp")
    write(data, MAIL.format(port=port).replace("ca/ca.pem", str(ca)))
    with mail_server(authority, port, offers_tls=False) as mails:
        told = notify(data, "test", "nurse")
        assert (told.returncode, "STARTTLS" in told.stdout) == (1, True), told
        assert mails.mails == []
    with mail_server(Authority(tmp_path / "other"), port) as mails:
        told = notify(data, "test", "nurse")
        assert (told.returncode, "CERTIFICATE_VERIFY_FAILED" in told.stdout) == (1, True), told
        assert mails.mails == []
    with mail_server(authority, port) as mails:
        told = notify(data, "test", "nurse")
        assert (told.returncode, told.stdout) == (0, "nurse, email: taken\n"), told
        assert mails.wait(1)[0]["Subject"] == "Kerb: 测试"


def test_a_webhook_goes_by_https_to_whom_its_ca_names(data: Path, tmp_path: Path) -> None:
    authority = Authority(data)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(authority.broker(("127.0.0.1",)).certificate)
    write(data, SECRET, name="secret")
    with Receiver(context) as receiver:
        text = program(receiver.url)
        write(data, text)
        told = notify(data, "test", "desk")
        assert (told.returncode, "CERTIFICATE_VERIFY_FAILED" in told.stdout) == (1, True), told
        ca = authority.file.relative_to(data)
        write(data, text.replace('"secret" }', f'"secret", ca = "{ca}" }}'))
        told = notify(data, "test", "desk")
        assert (told.returncode, told.stdout) == (0, "desk, webhook: taken\n"), told
        assert receiver.calls[0].body["type"] == "test"
    assert notify(data, "test", "ghost").returncode == 2
    assert notify(data, "check").stdout == "desk: webhook\n"


def test_each_is_told_once_whenever_the_notifier_is_killed(told: Any, data: Path, receiver: Receiver) -> None:
    """Killed again and again: nothing is missing, and what came twice is known by its key, and the same."""
    write(data, SECRET, name="secret")
    write(data, program(receiver.url, "nurse") + program(receiver.url, all=True))
    identities = [Identity("fever", "wearable-1", T + number) for number in range(20)]
    line = [sys.executable, "-m", "hub", "notify", "run", "--data", str(data)]
    want = set()
    for identity in identities:
        told(change(1, "active", T, identity=identity), Escalation(identity, 0, ("nurse",), T))
        key = f"fever.wearable-1.{identity.onset_ms}"
        want |= {f"{key}.change-1-active.desk.webhook", f"{key}.escalation-0-{T}.nurse.webhook"}
    receiver.answers = [500, HANG, 500] * 3
    for kills in range(4):
        process = subprocess.Popen(line, cwd=ROOT, stderr=subprocess.DEVNULL)
        try:
            if kills < 3:
                receiver.wait(len(receiver.calls) + 5)
            else:
                with receiver.seen:
                    assert receiver.seen.wait_for(lambda: {call.key for call in receiver.calls} == want, 40)
                deadline = time.monotonic() + 20
                while Outbox(data).counts() != {WAITING: 0, SENT: 40, GIVEN_UP: 0} and time.monotonic() < deadline:
                    time.sleep(0.05)
        finally:
            process.kill()
            process.wait()
    assert Outbox(data).counts() == {WAITING: 0, SENT: 40, GIVEN_UP: 0}
    assert {call.key for call in receiver.calls} == want
    bodies: dict[str, dict[str, Any]] = {}
    for call in receiver.calls:
        assert bodies.setdefault(call.key, call.body) == call.body


RULES = """
[[rules]]
id = "fast"
version = 1
at = "hub"
name = { en = "Pulse high", zh = "心率过高" }
priority = "high"
things = ["wearable-1"]
when = { metric = "heart_rate", unit = "/min", above = 120 }
escalation = [{ after_s = 0, to = ["desk"] }]
"""


async def test_a_reading_leads_to_a_webhook_though_the_hub_is_killed(tmp_path: Path, receiver: Receiver) -> None:
    data, port, mqtt_port = tmp_path / "hub", free_port(), free_port()
    (data / "rules").mkdir(parents=True)
    write(data / "rules", RULES, name="own.toml")
    write(data, SECRET, name="secret")
    write(data, program(receiver.url))
    receiver.answers = [500] * 3
    process = await asyncio.to_thread(start_hub, data, port, mqtt_port)
    try:
        gateway = Gateway(data, mqtt_port)
        running = asyncio.create_task(gateway.run())
        at_ms = now_ms()
        gateway.put(body([("wearable-1", reading("heart_rate", 130, "/min", time_ms=at_ms))]))
        [call] = await asyncio.to_thread(receiver.wait, 1)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        receiver.answers = []
        process = await asyncio.to_thread(start_hub, data, port, mqtt_port)
        gateway.put(body([("wearable-1", reading("heart_rate", 80, "/min", time_ms=at_ms + 5000))]))
        async with asyncio.timeout(30):
            while {each.body["type"] for each in receiver.calls[-2:]} != {"escalation", "alarm"}:
                await asyncio.sleep(0.05)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            async with asyncio.timeout(20):
                while (await client.get("/api/v1/notifications?state=waiting")).json():
                    await asyncio.sleep(0.05)
            found = (await client.get("/api/v1/notifications")).json()
            assert [(each["key"], each["state"]) for each in found] == [
                (f"fast.wearable-1.{at_ms}.change-2-cleared.desk.webhook", "sent"), (call.key, "sent"),
            ]  # fmt: skip
            story = (await client.get(f"/api/v1/alarms/fast/wearable-1/{at_ms}")).json()
            assert story["notifications"] == found[::-1]
            figures = (await client.get("/metrics")).text
            assert "kerb_hub_notifications_sent_total 2.0" in figures
            assert "kerb_hub_notifications_usable 1.0" in figures
        assert call.key == f"fast.wearable-1.{at_ms}.escalation-0-{call.body['time_ms']}.desk.webhook"
        assert {each.key for each in receiver.calls} == {each["key"] for each in found}
        running.cancel()
        await asyncio.wait((running,))
    finally:
        await asyncio.to_thread(end_hub, process)


def test_events_are_in_the_order_in_which_they_came_and_told_once(told: Any, data: Path, writer: Writer) -> None:
    told(change(2, "cleared", T + 1), change(1, "active", T), change(1, "active", T))
    with writer.transaction():
        writer.write_death("block-1")
    with writer.transaction():
        writer.write_death("block-1")
        writer.write_death("never-born")
    found = EventLog(data).after(0, 100)
    assert [(each.kind, each.thing, each.content.get("state")) for each in found] == [
        ("gateway", "block-1", "online"), ("alarm", "wearable-1", "cleared"), ("alarm", "wearable-1", "active"),
        ("gateway", "block-1", "offline"),
    ]  # fmt: skip
    assert EventLog(data).after(found[1].id, 1) == [found[2]]
