"""Enrolment from the gateway's side: with the hub's real route, with somebody in between, and what comes of it."""

import asyncio
import contextlib
import gc
import hashlib
import json
import logging
import stat
import subprocess
import sys
import threading
import time
import warnings
from datetime import UTC, datetime, timedelta

import pytest
import uvicorn
from cryptography.hazmat.primitives import serialization
from fastapi import FastAPI, Request, Response

from edge.config import load_config
from edge.enrol import enrol
from edge.errors import EnrolError
from edge.gateway import Gateway
from hub import enrol_route, logins, problems
from hub.authority import Authority
from hub.enrolment import make_token
from runtime.broker import EmbeddedBroker
from runtime.enrolment import Token, answer_proof
from runtime.process import free_port

FILES = ["ca.pem", "gateway.key", "gateway.pem"]
CONFIG = """\
[gateway]
id = "gw-1"
name = {{ en = "Home", zh = "家" }}

[uplink]
kind = "hub"
url = "mqtts://{host}:{port}"
ca = "tls/ca.pem"
certificate = "tls/gateway.pem"
key = "tls/gateway.key"

[[links]]
name = "meters"
kind = "modbus"
host = "127.0.0.1"
devices = [{{ thing = "meter-1", model = "eastron-sdm120", address = "1" }}]
"""


class Page:
    """The hub's route on a real HTTP server. `between` may change what is sent, and what is answered."""

    def __init__(self, data):
        self.url = f"http://127.0.0.1:{free_port()}"
        self.seen = []
        self.asked = lambda body: body
        self.answered = lambda body: body
        app = FastAPI()
        problems.install(app)
        app.include_router(enrol_route.make_router(data))
        app.middleware("http")(self._between)
        port = int(self.url.rsplit(":", 1)[1])
        self.server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="critical", lifespan="off"))

    async def _between(self, request: Request, call_next):
        body = await request.body()
        self.seen.append(body)
        request._body = self.asked(body)
        answer = await call_next(request)
        content = b"".join([part async for part in answer.body_iterator])
        self.seen.append(content)
        return Response(self.answered(content), answer.status_code, media_type=answer.media_type)

    def __enter__(self):
        self.thread = threading.Thread(target=self.server.run)
        self.thread.start()
        while not self.server.started:
            time.sleep(0.01)
        return self

    def __exit__(self, *_):
        self.server.should_exit = True
        self.thread.join(10)


@pytest.fixture
def hub(tmp_path):
    return tmp_path / "hub"


@pytest.fixture
def page(hub):
    with Page(hub) as made:
        yield made


@pytest.fixture
def target(tmp_path):
    return tmp_path / "tls"


def token_of(hub, gateway="gw-1"):
    return str(make_token(hub, gateway, hours=1))


def refused(page, hub, target, *, token=None, gateway="gw-1"):
    with pytest.raises(EnrolError) as caught:
        enrol(page.url, token=token or token_of(hub), gateway=gateway, directory=target)
    assert not target.exists() or list(target.iterdir()) == []
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_it_writes_key_certificate_and_ca_and_sends_no_secret(page, hub, target):
    token = token_of(hub)
    enrol(page.url, token=token, gateway="gw-1", directory=target)
    assert sorted(path.name for path in target.iterdir()) == FILES
    assert stat.S_IMODE((target / "gateway.key").stat().st_mode) == 0o600
    assert (target / "ca.pem").read_bytes() == Authority(hub).pem
    key = serialization.load_pem_private_key((target / "gateway.key").read_bytes(), None)
    assert key.curve.name == "secp256r1"
    sent = b"".join(page.seen)
    for secret in (Token.parse(token).secret, token.encode()[20:], b"PRIVATE"):
        assert secret not in sent
        assert secret.hex().encode() not in sent
    with pytest.raises(EnrolError, match=r"has ca\.pem, gateway\.pem, gateway\.key already"):
        enrol(page.url, token=token_of(hub), gateway="gw-1", directory=target)


def test_what_the_hub_refuses_is_said(page, hub, target, tmp_path):
    token = token_of(hub)
    enrol(page.url, token=token, gateway="gw-1", directory=tmp_path / "first")
    assert "was used before" in refused(page, hub, target, token=token)
    assert "for gateway 'gw-1'" in refused(page, hub, target, gateway="gw-2")
    expired = str(make_token(hub, "gw-1", hours=1, now_s=time.time() - 3601))
    assert "has expired" in refused(page, hub, target, token=expired)
    assert "does not know" in refused(page, hub, target, token=str(Token.make(b"\0" * 32)))
    assert "copy all of the line" in refused(page, hub, target, token=token[:-1])
    assert "cannot name a gateway" in refused(page, hub, target, gateway="gw 1")


def test_whoever_is_in_between_changes_nothing(page, hub, target, tmp_path):
    def other_key(body):
        with contextlib.suppress(EnrolError):  # a request of its own, for a key of its own
            enrol(other.url, token=token_of(tmp_path / "b"), gateway="gw-1", directory=tmp_path / "theirs")
        mine = other.seen[0].split(b'"csr": ')[1].split(b", ")[0]
        return body.split(b'"csr": ')[0] + b'"csr": ' + mine + b', "proof"' + body.split(b', "proof"')[1]

    with Page(tmp_path / "b") as other:
        page.asked = other_key
        assert "not made with this token" in refused(page, hub, target)
        page.asked = lambda body: body
        page.answered = lambda body: other.seen[1]  # the certificate and the CA of another hub
        assert "somebody is in between" in refused(page, hub, target)
    page.answered = lambda body: body.replace(b"BEGIN", b"BEGUN")
    assert "somebody is in between" in refused(page, hub, target)
    page.answered = lambda body: b'{"certificate": "", "ca": ""}'
    assert "no hub of ours" in refused(page, hub, target)
    page.answered = lambda body: b"<html>"
    assert "no hub of ours" in refused(page, hub, target)


def test_a_hub_that_has_another_ca_than_the_token_says_is_not_believed(page, hub, target):
    token = Token.parse(token_of(hub))
    other = Token(token.id, token.secret, hashlib.sha256(b"another CA").digest())
    assert "not the one that made the token" in refused(page, hub, target, token=str(other))


def test_a_certificate_for_another_gateways_key_is_not_taken(page, hub, target, tmp_path):
    enrol(page.url, token=token_of(hub), gateway="gw-1", directory=tmp_path / "theirs")
    theirs, ca = (tmp_path / "theirs/gateway.pem").read_bytes(), Authority(hub).pem
    token = Token.parse(token_of(hub))
    proof = answer_proof(token.secret, theirs, ca)
    answer = {"certificate": theirs.decode(), "ca": ca.decode(), "proof": proof}
    page.answered = lambda body: json.dumps(answer).encode()
    assert "for another key" in refused(page, hub, target, token=str(token))


def test_before_the_token_is_used_up_the_directory_is_looked_at(page, hub, tmp_path):
    token = token_of(hub)
    (tmp_path / "file").write_text("")
    with pytest.raises(EnrolError, match="cannot be written"):
        enrol(page.url, token=token, gateway="gw-1", directory=tmp_path / "file")
    assert page.seen == []
    enrol(page.url, token=token, gateway="gw-1", directory=tmp_path / "good")


def test_the_command_line_says_it_in_one_sentence_and_exits_2(hub, target):
    def edge(url):
        options = ["--hub", url, "--token", token_of(hub), "--id", "gw-1", "--dir", str(target)]
        command = [sys.executable, "-m", "edge", "enrol", *options]
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)

    for url in (f"http://127.0.0.1:{free_port()}", "127.0.0.1:8080"):
        done = edge(url)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert url in done.stderr


@pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")
@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("none", ""),
        ("ca", "the certificate of 127.0.0.1 is not of the CA that is trusted here"),
        ("name", "the certificate of 127.0.0.2 is for other host names, not for 127.0.0.2"),
        ("expired", "the certificate of 127.0.0.1 has expired"),
        ("own expired", "127.0.0.1: it refuses our certificate, which has expired"),
        ("own ca", "127.0.0.1: it refuses our certificate, which is of another CA"),
        ("revoked", "[code:135] Not authorized"),
    ],
)
async def test_the_uplink_says_why_it_is_refused(page, hub, target, tmp_path, fault, reason, caplog):
    caplog.set_level(logging.INFO, "runtime.mqtt")
    await asyncio.to_thread(enrol, page.url, token=token_of(hub), gateway="gw-1", directory=target)
    ago = datetime.now(UTC) - timedelta(days=400)
    other = Authority(tmp_path / "other")
    users = logins.users(hub)
    if fault == "ca":
        (target / "ca.pem").write_bytes(other.pem)
    elif fault in ("own expired", "own ca"):
        csr, serial = page.seen[0].split(b'"csr": "')[1].split(b'"')[0].replace(b"\\n", b"\n"), users[1].name[-16:]
        signer = other if fault == "own ca" else Authority(hub)
        made = signer.sign(csr, "gw-1", serial, now=ago if fault == "own expired" else None)
        (target / "gateway.pem").write_bytes(made)
    elif fault == "revoked":
        logins.revoke(hub, "gw-1")
    port = free_port()
    tls = Authority(hub).broker(now=ago if fault == "expired" else None)
    broker = EmbeddedBroker(hub / "broker", host="0.0.0.0", port=port, users=logins.users(hub), tls=tls)
    path = tmp_path / "gateway.toml"
    path.write_text(CONFIG.format(host="127.0.0.2" if fault == "name" else "127.0.0.1", port=port))
    gateway = Gateway(load_config(path))
    state = gateway.uplink.state
    tasks = [asyncio.create_task(broker.run())]
    try:
        async with asyncio.timeout(25):
            await broker.ready.wait()
            tasks.append(asyncio.create_task(gateway.uplink.run()))
            while state.online != (fault == "none") or state.reason == "connecting":
                assert not any(task.done() for task in tasks)
                await asyncio.sleep(0.02)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        gateway._file.close()
        with warnings.catch_warnings():  # paho leaves the socket of a handshake that failed to the garbage collector
            warnings.filterwarnings("ignore", "unclosed <ssl.SSLSocket", ResourceWarning)
            gc.collect()
    assert state.reason == reason
    assert reason in caplog.text
