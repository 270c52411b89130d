"""The far sides of notifications: a real web server that does as it is told, and a real mail server."""

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from standardwebhooks import Webhook, WebhookVerificationError

from hub.authority import Authority

SECRET = "whsec_" + "a2VyYi1pcy10ZXN0ZWQtYnktaXRzLXRlc3Rz"
HANG = 0  # in place of a status


class Call(NamedTuple):
    """One request: its path, the notice's key, and the body, whose signature was verified by another implementation."""

    path: str
    key: str
    body: dict[str, Any]


class Receiver:
    """A web server on localhost. answers: the statuses that it gives first; after those it takes what comes."""

    def __init__(self, tls: ssl.SSLContext | None = None):
        self.answers: list[int] = []
        self.calls: list[Call] = []
        self.forged: list[Exception] = []
        self.seen = threading.Condition()
        self._ended = threading.Event()
        receiver = self

        class Answering(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["content-length"]))
                receiver.take(self.path, dict(self.headers), raw)
                status = receiver.answers.pop(0) if receiver.answers else 204
                if status == HANG:
                    receiver._ended.wait(20)
                    self.close_connection = True
                    return
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("location", f"{receiver.url}/elsewhere")
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
        self._server.daemon_threads = True
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def take(self, path: str, headers: dict[str, str], raw: bytes) -> None:
        lower = {name.lower(): value for name, value in headers.items()}
        try:
            Webhook(SECRET).verify(raw, lower)
        except WebhookVerificationError as error:
            self.forged.append(error)
        with self.seen:
            self.calls.append(Call(path, lower["webhook-id"], json.loads(raw)))
            self.seen.notify_all()

    def wait(self, count: int, timeout_s: float = 20) -> list[Call]:
        """The calls, as soon as there are so many."""
        with self.seen:
            assert self.seen.wait_for(lambda: len(self.calls) >= count, timeout_s), f"only {self.calls}"
            return list(self.calls)

    def __enter__(self) -> "Receiver":
        self._thread.start()
        return self

    def __exit__(self, *exit: object) -> None:
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        assert not self.forged


class Mails:
    """What a mail server does with its mails. refuse: how it answers a recipient in place of taking the mail."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.refuse = ""
        self.seen = threading.Condition()

    async def handle_RCPT(self, server: SMTP, session: Session, envelope: Envelope, address: str, options: Any) -> str:
        if self.refuse:
            return self.refuse
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        assert isinstance(envelope.content, bytes)
        with self.seen:
            self.mails.append(BytesParser(policy=default).parsebytes(envelope.content))
            self.seen.notify_all()
        return "250 OK"

    def wait(self, count: int, timeout_s: float = 20) -> list[EmailMessage]:
        """The mails, as soon as there are so many."""
        with self.seen:
            assert self.seen.wait_for(lambda: len(self.mails) >= count, timeout_s), f"only {len(self.mails)}"
            return list(self.mails)


@contextmanager
def mail_server(authority: Authority, port: int, *, offers_tls: bool = True) -> Iterator[Mails]:
    """A mail server on localhost that wants STARTTLS and the login kerb / secret, unless it does not offer TLS."""

    def known(server: SMTP, session: Session, envelope: Envelope, mechanism: str, login: Any) -> AuthResult:
        return AuthResult(success=isinstance(login, LoginPassword) and login == LoginPassword(b"kerb", b"secret"))

    mails = Mails()
    options: dict[str, Any] = {}
    if offers_tls:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(authority.broker(("127.0.0.1",)).certificate)
        options = {"tls_context": context, "require_starttls": True, "auth_required": True, "authenticator": known}
    controller = Controller(mails, hostname="127.0.0.1", port=port, **options)
    controller.start()
    try:
        yield mails
    finally:
        controller.stop()
