"""Provisioning between two who know the secret, and with somebody in between who does not."""

import hashlib
import hmac
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from protocols.errors import DecodeError, EncodeError, OtherDeviceError, ProtocolError, RefusedError
from protocols.provisioning import CLOSED, MOST_BODY, REQUEST, SAVE, SEND, Device, Lines, Technician, Values, wire
from runtime.aes import encrypt_blocks

VECTORS = Path(__file__).parents[1] / "vectors" / "provisioning.json"
SECRET = bytes(range(16))
ID = "wearable-7"


class Ends:
    """A technician and a device. `saved`, `requests`, `closed`: what the device wanted, in order."""

    def __init__(self, *, secret: bytes = SECRET, device_secret: bytes = SECRET, name: str = ID, failed: int = 0):
        self.nonces = iter(range(1 << 30))
        self.device = Device(ID, device_secret, self.nonce, encrypt_blocks, failed=failed, now_ms=0)
        self.technician = Technician(name, secret, self.nonce(), encrypt_blocks)
        self.now_ms = 100_000  # no wait is left from the start
        self.saved: list[int] = []
        self.requests: list[bytes] = []
        self.closed: list[str] = []

    def nonce(self) -> bytes:
        return hashlib.sha256(str(next(self.nonces)).encode()).digest()[:16]

    def tell(self, message: bytes) -> bytes | None:
        """Give the device a message; what it sends."""
        sent = None
        for what, value in self.device.receive(message, self.now_ms):
            if what == SEND:
                assert isinstance(value, bytes)
                assert sent is None
                sent = value
            else:
                {SAVE: self.saved, REQUEST: self.requests, CLOSED: self.closed}[what].append(value)  # type: ignore[attr-defined]
        return sent

    def prove_each_other(self) -> None:
        self.technician.confirm(self.ask(self.technician.prove(self.ask(self.technician.hello()))))

    def ask(self, message: bytes) -> bytes:
        sent = self.tell(message)
        assert sent is not None
        return sent


def reference(
    secret: bytes, device: str, nonces: Sequence[bytes], bodies: Sequence[tuple[bytes, bytes]]
) -> list[bytes]:
    """The messages of a session, by the description in the package's docstring and other people's cryptography."""
    hello, challenge = b"\x01\x01" + nonces[0], b"\x02" + nonces[1] + device.encode()
    transcript = hashlib.sha256(hello + challenge).digest()
    info = b"kerb provisioning\x01" + transcript
    keys = HKDF(SHA256(), 160, nonces[0] + nonces[1], info).derive(secret)
    messages = [hello, challenge]
    for kind, key in ((b"\x03", keys[:32]), (b"\x04", keys[80:112])):
        messages.append(kind + hmac.digest(key, transcript, "sha256"))
    for number, pair in enumerate(bodies):
        for body, at in zip(pair, (32, 112), strict=True):
            counter = number.to_bytes(8, "big")
            encryptor = Cipher(algorithms.AES(keys[at : at + 16]), modes.CTR(counter + bytes(8))).encryptor()
            text = encryptor.update(body) + encryptor.finalize()
            messages.append(b"\x05" + text + hmac.digest(keys[at + 16 : at + 48], counter + text, "sha256")[:16])
    return messages


def test_the_vectors_are_those_of_the_reference() -> None:
    for vector in json.loads(VECTORS.read_text())["vectors"]:
        args = vector["args"]
        made = reference(
            bytes.fromhex(args["secret"]),
            args["device"],
            [bytes.fromhex(nonce) for nonce in args["nonces"]],
            [(bytes.fromhex(request), bytes.fromhex(result)) for request, result in vector["input"]],
        )
        assert [message.hex() for message in made] == vector["expect"], vector["name"]


def test_both_prove_themselves_and_then_ask_and_answer() -> None:
    ends = Ends()
    ends.prove_each_other()
    for number in range(3):
        request = b"request %d" % number
        assert ends.tell(ends.technician.seal(request)) is None
        assert ends.requests[-1] == request
        assert ends.technician.open(ends.device.answer(b"result %d" % number)) == b"result %d" % number
    assert ends.closed == []


@pytest.mark.parametrize("wrong", [{"secret": bytes(16)}, {"device_secret": bytes(16)}])
def test_with_another_secret_the_device_takes_nothing(wrong: dict[str, bytes]) -> None:
    ends = Ends(**wrong)  # type: ignore[arg-type]
    refused = ends.ask(ends.technician.prove(ends.ask(ends.technician.hello())))
    with pytest.raises(RefusedError) as error:
        ends.technician.confirm(refused)
    assert error.value.reason == "proof"
    assert ends.saved == [1]
    assert ends.requests == []
    with pytest.raises(RefusedError):
        ends.technician.seal(b"config")  # it has nobody to trust


def test_a_false_device_is_told_nothing() -> None:
    """It takes any proof, and answers with one that it cannot make."""
    ends = Ends()
    ends.technician.prove(ends.ask(ends.technician.hello()))
    with pytest.raises(RefusedError):
        ends.technician.confirm(wire.join(wire.ANSWER, bytes(32)))
    with pytest.raises(RefusedError):
        ends.technician.seal(b"config")


def test_the_label_of_another_device_is_told_by_name() -> None:
    ends = Ends(name="wearable-8")
    with pytest.raises(OtherDeviceError, match="wearable-7 answers in place of wearable-8"):
        ends.technician.prove(ends.ask(ends.technician.hello()))
    assert ends.saved == []


def test_another_version_is_refused_by_its_reason() -> None:
    ends = Ends()
    with pytest.raises(RefusedError) as error:
        ends.technician.prove(ends.ask(wire.join(wire.HELLO, b"\x02", bytes(16))))
    assert error.value.reason == "version"


def test_a_session_begun_anew_ends_the_one_before() -> None:
    ends = Ends()
    ends.prove_each_other()
    old = ends.technician.seal(b"old")
    ends.technician = Technician(ID, SECRET, ends.nonce(), encrypt_blocks)
    ends.prove_each_other()
    with pytest.raises(RefusedError):
        ends.technician.open(ends.ask(old))
    assert ends.requests == []


def test_the_attempt_is_saved_before_anything_is_said() -> None:
    for secret, saved in ((SECRET, [1, 0]), (bytes(16), [1])):
        ends = Ends(secret=secret)
        proof = ends.technician.prove(ends.ask(ends.technician.hello()))
        actions = ends.device.receive(proof, ends.now_ms)
        kinds = [what for what, _ in actions]
        assert [value for what, value in actions if what == SAVE] == saved
        assert kinds.index(SEND) > max(place for place, what in enumerate(kinds) if what == SAVE)


def refused_for_s(ends: Ends) -> int:
    """How long the device wants to be left alone."""
    sent = ends.ask(ends.technician.hello())
    return int.from_bytes(sent[2:], "big") if sent[:2] == b"\x06\x00" else 0


def test_failed_attempts_wait_longer_and_longer_also_after_a_restart() -> None:
    ends = Ends(secret=bytes(16))
    waits = []
    for _ in range(14):
        wait_s = refused_for_s(ends)
        if wait_s:
            waits.append(wait_s)
            ends.now_ms += 1000 * wait_s - 1
            assert refused_for_s(ends) == 1  # a moment too soon
            ends.now_ms += 1
        ends.tell(ends.technician.prove(ends.ask(ends.technician.hello())))
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60]
    again = Ends(failed=ends.saved[-1])
    again.now_ms = 0
    assert refused_for_s(again) == 60
    again.now_ms = 60_000
    again.prove_each_other()
    assert again.saved == [15, 0]
    often = Ends(failed=10**9)
    often.now_ms = 59_999
    assert refused_for_s(often) == 1


def test_a_message_is_as_long_as_a_config_and_no_longer() -> None:
    ends = Ends()
    ends.prove_each_other()
    ends.tell(ends.technician.seal(bytes(MOST_BODY)))
    assert ends.requests == [bytes(MOST_BODY)]
    with pytest.raises(EncodeError):
        ends.technician.seal(bytes(MOST_BODY + 1))


def test_a_device_does_one_thing_at_a_time() -> None:
    ends = Ends()
    ends.prove_each_other()
    with pytest.raises(RefusedError):
        ends.device.answer(b"to nothing")
    assert ends.tell(ends.technician.seal(b"one")) is None
    assert ends.tell(ends.technician.seal(b"two")) == wire.encode_refused(wire.OUT_OF_TURN)
    with pytest.raises(RefusedError):
        ends.device.answer(b"to the first")  # the session has ended


def test_after_something_that_does_not_check_nothing_more_is_taken() -> None:
    ends = Ends()
    ends.prove_each_other()
    ends.tell(ends.technician.seal(b"config"))
    result = ends.device.answer(b"done")
    for message in (_flipped(9)(result), result):
        with pytest.raises(RefusedError):
            ends.technician.open(message)
    ends = Ends()
    ends.prove_each_other()
    request = ends.technician.seal(b"config")
    assert ends.tell(_flipped(9)(request)) == wire.encode_refused(wire.DAMAGED)
    assert ends.tell(request) == wire.encode_refused(wire.OUT_OF_TURN)
    assert ends.requests == []


class Mallory(RuleBasedStateMachine):
    """The line belongs to an attacker, who has all that was ever said and delivers what he likes, changed as he likes.

    Technicians with the label come and go. What the device carries out must have been asked by the technician who is
    there, and each once; what a technician believes must be what the device has said.
    """

    @initialize()
    def begin(self) -> None:
        self.ends = Ends()
        self.heard: list[bytes] = []
        self.count = 0
        self.new_technician()

    @rule()
    def new_technician(self) -> None:
        self.technician = Technician(ID, SECRET, self.ends.nonce(), encrypt_blocks)
        self.waits_for = "challenge"
        self.asked: bytes | None = None  # by this technician, and not carried out yet
        self.result: bytes | None = None  # of the device, to his last request
        self.heard.append(self.technician.hello())

    @rule(data=st.data())
    def deliver_what_was_heard(self, data: st.DataObject) -> None:
        message = data.draw(st.sampled_from(self.heard))
        self.deliver(data.draw(changes)(message), to_device=data.draw(st.booleans()))

    @rule(message=st.binary(max_size=70), to_device=st.booleans())
    def deliver_something_made_up(self, message: bytes, to_device: bool) -> None:
        self.deliver(message, to_device=to_device)

    @rule(to_device=st.booleans())
    def deliver_as_an_honest_line_does(self, to_device: bool) -> None:
        self.deliver(self.heard[-1], to_device=to_device)

    @rule()
    def let_them_prove_themselves(self) -> None:
        self.new_technician()
        for to_device in (True, False, True, False):
            self.deliver(self.heard[-1], to_device=to_device)
        assert self.waits_for == "nothing"

    @precondition(lambda self: self.waits_for == "nothing")
    @rule()
    def ask(self) -> None:
        self.count += 1
        self.asked = b"the password of the network is %d" % self.count
        self.result = None
        self.heard.append(self.technician.seal(self.asked))
        self.waits_for = "result"

    def deliver(self, message: bytes, *, to_device: bool) -> None:
        if to_device:
            self.to_device(message)
        else:
            try:
                self.to_technician(message)
            except ProtocolError:
                self.waits_for = "another technician"

    def to_device(self, message: bytes) -> None:
        before = len(self.ends.requests)
        self.ends.now_ms += 60_000  # the waits are another test's
        sent = self.ends.tell(message)
        if sent is not None:
            self.heard.append(sent)
        for request in self.ends.requests[before:]:
            assert request == self.asked
            self.asked = None
            self.result = b"done " + request
            self.heard.append(self.ends.device.answer(self.result))

    def to_technician(self, message: bytes) -> None:
        if self.waits_for == "challenge":
            self.heard.append(self.technician.prove(message))
            self.waits_for = "answer"
        elif self.waits_for == "answer":
            self.technician.confirm(message)
            self.waits_for = "nothing"
        elif self.waits_for == "result":
            assert self.technician.open(message) == self.result
            self.waits_for = "nothing"

    @invariant()
    def nothing_is_learned(self) -> None:
        if self.count:
            assert not any(b"password" in message or SECRET in message for message in self.heard)


def _flipped(place: int) -> Callable[[bytes], bytes]:
    def change(message: bytes) -> bytes:
        at = place % (8 * len(message))
        return message[: at // 8] + bytes([message[at // 8] ^ 1 << at % 8]) + message[at // 8 + 1 :]

    return change


changes: st.SearchStrategy[Callable[[bytes], bytes]] = st.one_of(
    st.just(lambda message: message),
    st.integers(0, 8 * 80).map(_flipped),
    st.integers(1, 20).map(lambda count: lambda message: message[:-count]),
    st.binary(min_size=1, max_size=3).map(lambda more: lambda message: message + more),
    st.integers(1, 6).map(lambda kind: lambda message: bytes([kind]) + message[1:]),  # such as a proof sent back
)
TestMallory = Mallory.TestCase


@pytest.mark.parametrize("step", range(6))
def test_any_bit_changed_on_the_way_ends_the_session(step: int) -> None:
    """Every bit of every message, one at a time."""
    place = 0
    while True:
        ends = Ends()
        message = b""
        try:
            for number, turn in enumerate(turns(ends)):
                message = turn(message)
                if number == step:
                    if place == 8 * len(message):
                        return
                    message = _flipped(place)(message)
        except ProtocolError:
            place += 1
            continue
        raise AssertionError(f"bit {place} of message {step} is not missed")


def turns(ends: Ends) -> list[Callable[[bytes], bytes]]:
    """A session, message by message; the end makes sure that all was taken."""

    def carry_out(message: bytes) -> bytes:
        sent = ends.tell(message)
        return sent if sent is not None else ends.device.answer(b"done")

    def seal(message: bytes) -> bytes:
        ends.technician.confirm(message)
        return ends.technician.seal(b"config")

    return [
        lambda _: ends.technician.hello(),
        ends.ask,
        ends.technician.prove,
        ends.ask,
        seal,
        carry_out,
        ends.technician.open,
    ]


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=6), st.integers(1, 40))
def test_values_of_any_size_carry_the_messages(messages: list[bytes], size: int) -> None:
    ours, theirs = Values(), Values()
    data = b"".join(ours.encode(message) for message in messages)
    got = [message for at in range(0, len(data), size) for message in theirs.feed(data[at : at + size])]
    assert got == messages


@pytest.mark.parametrize("size", [0, MOST_BODY + 18, 0xFFFF])
def test_a_size_that_no_message_has_is_refused(size: int) -> None:
    with pytest.raises(DecodeError, match="bytes, not 1 to"):
        Values().feed(size.to_bytes(2, "big") + b"x")


log_lines = st.binary(max_size=50).filter(lambda line: b"\n" not in line and not line.startswith(b"kerb:"))


@given(
    st.lists(st.tuples(st.binary(min_size=1, max_size=300), log_lines, log_lines), max_size=5),
    st.integers(1, 40),
    st.sampled_from([b"\n", b"\r\n"]),
)
def test_lines_are_found_among_those_of_a_log(
    items: list[tuple[bytes, bytes, bytes]], size: int, line_end: bytes
) -> None:
    data = b"".join(log + line_end + half + Lines().encode(message) for message, log, half in items)
    data = data.replace(b"\n", line_end) if line_end == b"\r\n" and b"\r" not in data else data
    lines = Lines()
    got = [message for at in range(0, len(data), size) for message in lines.feed(data[at : at + size])]
    assert got == [message for message, _, _ in items]


def test_a_line_without_end_takes_no_more_memory() -> None:
    lines = Lines()
    for _ in range(100):
        assert lines.feed(b"kerb:" + b"A" * 5_000) == []
    assert len(lines._text) + len(lines._message or b"") < 100
    assert lines.feed(b"\nkerb:@\nkerb:A\n" + Lines().encode(b"whole")) == [b"whole"]
    longest = bytes(wire.MOST_MESSAGE)
    assert lines.feed(lines.encode(longest).replace(b"\n", b"\r\n")) == [longest]
