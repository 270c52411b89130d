"""Enrolment and the hub's CA: one token one certificate, and nobody else gets in, as the real broker sees it."""

import asyncio
import contextlib
import gc
import os
import re
import ssl
import stat
import subprocess
import sys
import warnings
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hub import logins
from hub.authority import Authority
from hub.enrolment import FILE, Enrolled, enrol, make_token, revoke
from hub.errors import CsrError, EnrolmentError, SetupError
from hub.ingest import broker_login
from runtime.broker import EmbeddedBroker
from runtime.enrolment import PATH, Token, TokenError, answer_proof, request_proof
from runtime.mqtt import Broker, Session, keep_session
from runtime.process import free_port
from runtime.tls import client_tls
from tests.hub.conftest import ROOT, RunningHub
from tests.hub.gateway import certified, enrolled, request


def use(data: Path, token: Token, name: str = "gw-1", *, now_s: float | None = None) -> Enrolled:
    _, csr = request(name)
    return enrol(data, token.id, csr.decode(), request_proof(token.secret, csr), now_s=now_s)


def test_a_token_survives_copy_and_paste_and_a_damaged_one_is_told() -> None:
    token = Token.make(bytes(range(32)))
    text = str(token)
    assert re.fullmatch("[a-z0-9]+", text)
    assert Token.parse(f"  {text[:40]}\n   {text[40:].upper()}\n") == token
    assert len(token.secret) * 8 >= 128
    for damaged in (text[:-1], text + "a", text[:50] + ("a" if text[50] != "a" else "b") + text[51:], "kerb1", "x"):
        with pytest.raises(TokenError, match="copy all of the line"):
            Token.parse(damaged)
    assert token.secret.hex() not in repr(token)
    assert str(token.secret) not in repr(token)


def test_a_token_gives_a_certificate_and_a_login_once(data: Path) -> None:
    token = make_token(data, "gw-1", hours=1)
    made = use(data, token)
    certificate = x509.load_pem_x509_certificate(made.certificate.encode())
    ca = x509.load_pem_x509_certificate(made.ca.encode())
    assert ca.fingerprint(hashes.SHA256()) == token.fingerprint
    certificate.verify_directly_issued_by(ca)
    assert made.proof == answer_proof(token.secret, made.certificate.encode(), made.ca.encode())
    common_name, serial = [attribute.value for attribute in certificate.subject]
    assert common_name == "gw-1"
    assert [user.name for user in logins.users(data)] == ["CN=hub", f"CN=gw-1,SERIALNUMBER={serial}"]
    with pytest.raises(EnrolmentError, match="used before"):
        use(data, token)
    assert token.secret.hex() not in (data / FILE).read_text()


def test_a_token_is_refused_when_it_is_unknown_expired_or_of_another_gateway(data: Path) -> None:
    token = make_token(data, "gw-1", hours=1, now_s=1_000_000)
    with pytest.raises(EnrolmentError, match="does not know"):
        use(data, Token("00" * 5, token.secret, token.fingerprint), now_s=1_000_001)
    with pytest.raises(EnrolmentError, match="expired"):
        use(data, token, now_s=1_003_600)
    with pytest.raises(EnrolmentError, match=r"for gateway 'gw-1', the request is of \['gw-2'\]"):
        use(data, token, "gw-2", now_s=1_003_599)
    assert [user.name for user in logins.users(data)] == ["CN=hub"]
    use(data, token, now_s=1_003_599)  # what was refused has not used it up
    assert make_token(data, "gw-1", hours=1, now_s=1_000_000 + 3600 + 31 * 86_400)
    assert token.id not in (data / FILE).read_text()


def test_a_request_that_was_changed_on_the_way_is_refused(data: Path) -> None:
    token = make_token(data, "gw-1", hours=1)
    (_, csr), (_, other) = request("gw-1"), request("gw-1")
    for sent, proof in (
        (other, request_proof(token.secret, csr)),
        (csr, request_proof(b"guess", csr)),
        (csr, ""),
        (csr, "é"),
    ):
        with pytest.raises(EnrolmentError, match="proof is wrong"):
            enrol(data, token.id, sent.decode(), proof)


def _csr(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, *names: x509.NameAttribute[str]) -> bytes:
    built = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(names)).sign(key, hashes.SHA256())
    return built.public_bytes(serialization.Encoding.PEM)


def test_only_a_whole_request_for_the_right_kind_of_key_is_signed(data: Path) -> None:
    authority = Authority(data)
    name = x509.NameAttribute(NameOID.COMMON_NAME, "gw-1")
    good = ec.generate_private_key(ec.SECP256R1())
    bad = [
        b"",
        b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
        _csr(rsa.generate_private_key(65537, 2048), name),
        _csr(ec.generate_private_key(ec.SECP384R1()), name),
        _csr(good, name, x509.NameAttribute(NameOID.SERIAL_NUMBER, "1")),
        _csr(good, x509.NameAttribute(NameOID.COMMON_NAME, "hub")),
    ]
    der = bytearray(x509.load_pem_x509_csr(_csr(good, name)).public_bytes(serialization.Encoding.DER))
    der[-1] ^= 1
    bad.append(x509.load_der_x509_csr(bytes(der)).public_bytes(serialization.Encoding.PEM))
    for csr in bad:
        with pytest.raises(CsrError):
            authority.sign(csr, "gw-1", "00")


def _certificate(file: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(file.read_bytes())


def test_certificates_say_what_they_are_for(data: Path) -> None:
    authority = Authority(data)
    ca = _certificate(authority.file)
    broker, ingest = (
        _certificate(authority.broker(["hub.example", "192.0.2.7"]).certificate),
        _certificate(authority.ingest()),
    )
    gateway = x509.load_pem_x509_certificate(authority.sign(request("gw-1")[1], "gw-1", "ab"))
    assert ca.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert ca.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    assert timedelta(days=3649) < ca.not_valid_after_utc - datetime.now(UTC) < timedelta(days=3651)
    for certificate, usage in (
        (broker, ExtendedKeyUsageOID.SERVER_AUTH),
        (ingest, ExtendedKeyUsageOID.CLIENT_AUTH),
        (gateway, ExtendedKeyUsageOID.CLIENT_AUTH),
    ):
        certificate.verify_directly_issued_by(ca)
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
        assert (constraints.critical, constraints.value.ca) == (True, False)
        assert not certificate.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
        assert list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [usage]
        assert timedelta(days=364) < certificate.not_valid_after_utc - datetime.now(UTC) < timedelta(days=366)
    names = broker.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost", "hub.example"]
    assert [str(one) for one in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "192.0.2.7"]
    with pytest.raises(SetupError, match="no host name"):
        authority.broker(["not a name"])


def test_the_hubs_own_certificates_are_renewed_in_time_and_the_ca_stays(data: Path) -> None:
    first = Authority(data)
    broker, ingest = first.broker().certificate, first.ingest()
    before = (broker.read_bytes(), ingest.read_bytes())
    again = Authority(data)
    assert again.fingerprint == first.fingerprint
    soon = datetime.now(UTC) + timedelta(days=240)
    again.broker(now=soon), again.ingest(now=soon)
    assert (broker.read_bytes(), ingest.read_bytes()) == before
    late = datetime.now(UTC) + timedelta(days=247)  # less than a third of a year is left
    again.broker(now=late), again.ingest(now=late)
    assert broker.read_bytes() != before[0]
    assert ingest.read_bytes() != before[1]
    renewed = broker.read_bytes()
    again.broker(["hub.example"], now=late)
    assert broker.read_bytes() != renewed


def test_secrets_are_their_owners_alone(data: Path) -> None:
    before = os.umask(0o022)
    try:
        authority = Authority(data)
        files = {authority.broker().key, authority.ingest(), data / "ca" / "authority.pem", data / FILE}
        use(data, make_token(data, "gw-1", hours=1))
    finally:
        os.umask(before)
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    with_key = {file for file in data.rglob("*") if file.is_file() and b"PRIVATE" in file.read_bytes()}
    assert with_key == files - {data / FILE}


def test_a_damaged_file_is_one_sentence(data: Path) -> None:
    Authority(data)
    (data / "ca" / "authority.pem").write_text("x")
    with pytest.raises(SetupError, match=r"authority\.pem is damaged"):
        Authority(data)


class Knock:
    """What becomes of a client's attempts to come in: `answer` is "in", or why not."""

    def __init__(self, port: int, tls: ssl.SSLContext, name: str = "gw-1", host: str = "127.0.0.1"):
        self._broker = Broker(host, port, name, tls=tls)
        self._answers: asyncio.Queue[str] = asyncio.Queue()

    async def __aenter__(self) -> "Knock":
        self._task = asyncio.create_task(keep_session(self._broker, self._serve, on_down=self._answers.put_nowait))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def answer(self) -> str:
        return await asyncio.wait_for(self._answers.get(), 15)

    async def _serve(self, session: Session) -> None:
        self._answers.put_nowait("in")
        async for _ in session.messages():
            pass


@contextlib.asynccontextmanager
async def serving(data: Path, **options: object) -> AsyncIterator[EmbeddedBroker]:
    users, tls = logins.users(data), Authority(data).broker(**options)  # type: ignore[arg-type]
    broker = EmbeddedBroker(data / "broker", host="0.0.0.0", port=free_port(), users=users, tls=tls)
    task = asyncio.create_task(broker.run())
    try:
        await asyncio.wait_for(broker.ready.wait(), 10)
        yield broker
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def failed_handshakes() -> Iterator[None]:
    """Paho leaves the socket of a handshake that failed to the garbage collector, which warns of it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "unclosed <ssl.SSLSocket", ResourceWarning)
        yield
        gc.collect()


@pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")
@pytest.mark.usefixtures("failed_handshakes")
async def test_whoever_has_no_good_certificate_stays_outside_and_hears_why(data: Path, tmp_path: Path) -> None:
    good = enrolled(data, "gw-1")
    serial = logins.users(data)[1].name.split("=")[-1]
    ago = datetime.now(UTC) - timedelta(days=400)
    strangers = {
        "authori": [
            certified(data, "gw-2", "ab"),  # never enrolled
            certified(data, "gw-1", "ab"),  # from before it enrolled again
        ],
        "there is none": [client_tls(ca=Authority(data).file)],
        "which has expired": [certified(data, "gw-1", serial, now=ago)],
        "refuses our certificate": [certified(data, "gw-1", serial, signed_by=tmp_path / "other")],
        "127.0.0.1 is not of the CA": [enrolled(tmp_path / "other", "gw-1")],
    }
    async with serving(data) as broker, asyncio.TaskGroup() as group:

        async def outside(tls: ssl.SSLContext, why: str) -> None:
            async with Knock(broker.port, tls) as knock:
                assert why in (await knock.answer()).lower()

        for why, contexts in strangers.items():
            for tls in contexts:
                group.create_task(outside(tls, why.lower()))
        async with Knock(broker.port, good, host="127.0.0.2") as knock:
            assert "for other host names, not for 127.0.0.2" in await knock.answer()
        async with Knock(broker.port, good, "gw-good") as knock:
            assert await knock.answer() == "in"


@pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")
@pytest.mark.usefixtures("failed_handshakes")
async def test_a_brokers_certificate_that_has_expired_is_told(data: Path) -> None:
    tls = enrolled(data, "gw-1")
    async with serving(data, now=datetime.now(UTC) - timedelta(days=400)) as broker, Knock(broker.port, tls) as knock:
        assert await knock.answer() == "the certificate of 127.0.0.1 has expired"


async def test_natss_own_port_lets_nobody_in_without_a_certificate(data: Path) -> None:
    """Users have no passwords, so there a name would be enough."""
    async with serving(data) as broker:
        log = (broker.directory / "broker.log").read_text()
        (port,) = re.findall(r"Listening for client connections on 127\.0\.0\.1:(\d+)", log)
        reader, writer = await asyncio.open_connection("127.0.0.1", int(port))
        assert b'"tls_required":true' in await reader.readline()
        writer.write(b'CONNECT {"verbose":true,"user":"CN=hub","pass":""}\r\nSUB > 1\r\nPING\r\n')
        async with asyncio.timeout(5):
            with contextlib.suppress(ConnectionError):
                assert b"PONG" not in await reader.read()
        writer.close()


async def test_revoked_it_is_thrown_out_and_enrolled_again_its_old_certificate_stays_out(data: Path) -> None:
    old = enrolled(data, "gw-1")
    async with serving(data) as broker, Knock(broker.port, old) as knock:
        assert await knock.answer() == "in"
        logins.revoke(data, "gw-1")
        broker.set_users(logins.users(data))
        assert await knock.answer() != "in"  # the session ends
        assert "authori" in (await knock.answer()).lower()
        new = enrolled(data, "gw-1")
        broker.set_users(logins.users(data))
        async with Knock(broker.port, new, "gw-1-again") as again:
            while (answer := await again.answer()) != "in":  # the broker takes a moment to read its users
                assert "authori" in answer.lower()
        assert "authori" in (await knock.answer()).lower()


def test_revoking_takes_back_unused_tokens_too(data: Path) -> None:
    use(data, make_token(data, "gw-1", hours=1))
    unused, other = make_token(data, "gw-1", hours=1), make_token(data, "gw-2", hours=1)
    revoke(data, "gw-1")
    assert [user.name for user in logins.users(data)] == ["CN=hub"]
    with pytest.raises(EnrolmentError, match="does not know"):
        use(data, unused)
    use(data, other, "gw-2")
    with pytest.raises(SetupError, match="no gateway 'gw-1' is enrolled"):
        revoke(data, "gw-1")


def test_a_name_that_is_none_is_one_sentence(data: Path) -> None:
    ports = ("--port", str(free_port()), "--mqtt-port", str(free_port()))
    ended = hub("run", "--data", str(data), *ports, "--name", "hub.example", "--name", "not a name")
    assert (ended.returncode, ended.stderr) == (2, "kerb hub: 'not a name' is no host name and no address\n")


def test_nobody_is_called_hub_or_has_a_name_that_is_no_id(data: Path) -> None:
    for bad in ("", "a b", "hub", "x" * 65, "é", "a/b", "a,OU=b"):
        with pytest.raises(SetupError):
            make_token(data, bad, hours=1)
        with pytest.raises(SetupError):
            logins.admit(data, bad)
    for hours in (0, -1, float("nan"), float("inf")):
        with pytest.raises(SetupError, match="--hours"):
            make_token(data, "gw-1", hours=hours)


def hub(*words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "hub", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20, check=False)


async def test_the_running_hub_enrols_and_revokes_at_once(running_hub: RunningHub) -> None:
    data = running_hub.data
    made = hub("enrol", "gw-9", "--data", str(data), "--hours", "0.5")
    assert (made.returncode, made.stdout.count("\n")) == (0, 1)
    token = Token.parse(made.stdout)
    key, csr = request("gw-9")
    body = {"token": token.id, "csr": csr.decode(), "proof": request_proof(token.secret, csr)}
    async with httpx.AsyncClient(base_url=running_hub.url) as web:
        for wrong, status in (({"proof": "00"}, 422), ({"proof": "00" * 32}, 403), ({"csr": "x" * 20_000}, 413)):
            answer = await web.post(PATH, json=body | wrong)
            assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
        answer = await web.post(PATH, json=body)
        assert answer.status_code == 200
        again = await web.post(PATH, json=body)
        assert (again.status_code, again.json()["errors"][0]["field"]) == (403, "token")
        assert PATH in (await web.get("/openapi.json")).json()["paths"]
    own = data / "gw-9.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    own.write_bytes(answer.json()["certificate"].encode() + private)
    async with Knock(running_hub.mqtt_port, client_tls(ca=Authority(data).file, certificate=own), "gw-9") as knock:
        while (heard := await knock.answer()) != "in":
            assert "authori" in heard.lower()
        assert hub("revoke", "gw-9", "--data", str(data)).returncode == 0
        assert await knock.answer() != "in"
        assert "authori" in (await knock.answer()).lower()
    twice = hub("revoke", "gw-9", "--data", str(data))
    assert (twice.returncode, twice.stderr.count("\n")) == (2, 1)


def test_the_hub_logs_in_by_its_own_certificate(data: Path) -> None:
    login = broker_login(data, host="127.0.0.1", port=1)
    assert login.tls is not None
    assert login.tls.check_hostname
    assert login.tls.verify_mode is ssl.CERT_REQUIRED
    assert (login.username, login.password) == (None, None)


def test_making_a_token_does_not_load_the_page() -> None:
    code = "import sys, hub.__main__; sys.exit('nicegui' in sys.modules or 'fastapi' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=20, check=False).returncode == 0
