"""The uplink of a simulated gateway: what edge.uplink.hub does in tasks, by events. Which pack goes next is the real
decision (edge.uplink.send_order), the sender's states are real, and so are the messages.
"""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

from edge.pipeline import Pipeline
from edge.uplink import send_order
from protocols import cursor, refusal, topics
from protocols.command import Request, Result, decode_request, encode_result
from protocols.custody import Header
from protocols.pack import encode_header
from protocols.topics import GATEWAY
from simulation.network import Line, Session
from simulation.outbox import Outbox
from simulation.world import Node

if TYPE_CHECKING:
    from simulation.commands import Commands
    from simulation.sending import Sending

_NAME = {"en": "x", "zh": "x"}
_BETWEEN_PACKS_MS = 1
_BIRTH_GAP_MS = 1000
_REFUSED_MS = 600_000


class Uplink:
    """See edge.uplink.hub.HubUplink. `watch`: the ledger's watch on what is urgent."""

    def __init__(
        self,
        node: Node,
        line: Line,
        *,
        gateway: str,
        outbox: Outbox,
        pipeline: Pipeline,
        commands: "Commands",
        watch: "Sending",
        incarnation: int,
        clock: Callable[[], int],
    ):
        self._node = node
        self._line = line
        self._gateway = gateway
        self._outbox = outbox
        self._pipeline = pipeline
        self._commands = commands
        self._watch = watch
        self._incarnation = incarnation
        self._clock = clock
        self._session: Session | None = None
        self._sessions = 0
        self._ready = False
        self._early: list[tuple[str, bytes]] = []  # what comes before the line is up
        self._order = send_order.SendOrder(outbox.senders)
        self._announcing = False
        self._sending = False
        self._reading: tuple[str, int] | None = None
        self._wakes_ms: int | None = None
        self._instance = self._new_instance()
        self._answers: dict[str, Result] = {}
        outbox.due = self._pump
        commands.told.append(lambda _: self._tell_results())

    def connected(self, session: Session) -> None:
        """The birth first; once the broker has it, packs."""
        self._session, self._ready, self._early = session, False, []
        self._send_birth(session, lambda: self._line_up(session))

    def disconnected(self, session: Session) -> None:
        """Nothing is due until the next session."""
        if session is self._session:
            self._session, self._ready = None, False
            self._outbox.state.line_down()
            self._watch.line_down()

    def received(self, session: Session, topic: str, payload: bytes) -> None:
        """A cursor or a command."""
        if session is not self._session:
            return
        if not self._ready:
            self._early.append((topic, payload))
            return
        parsed = topics.parse(topic)
        if parsed.kind == "refused":
            if self._instance in refusal.decode(payload):
                self._instance = self._new_instance()
                self._line.hang_up(0, again_ms=_REFUSED_MS)
        elif parsed.kind == "cmd":
            request = decode_request(payload)
            self._commands.submit(request, lambda result: self._answer(request, result))
        else:
            self._outbox.cursor(parsed.lane, *cursor.decode(payload))

    def announce(self) -> None:
        """If what the birth certificate says has changed, it goes out again, at most once a second."""
        session = self._session
        if session is not None and self._ready and not self._announcing and self._pipeline.announced.is_set():
            self._announcing = True
            self._send_birth(session, _nothing)
            self._node.world.after(_BIRTH_GAP_MS, self._node, self._announce_again)

    def _announce_again(self) -> None:
        self._announcing = False
        self.announce()

    def _send_birth(self, session: Session, done: Callable[[], None]) -> None:
        self._pipeline.announced.clear()
        self._node.act()
        session.publish(
            topics.birth(GATEWAY, self._gateway), json.dumps(self._birth()).encode(), retain=True, done=done
        )

    def _new_instance(self) -> str:
        return f"{self._node.world.chance.getrandbits(64):016x}"

    def _line_up(self, session: Session) -> None:
        if session is not self._session:
            return
        self._ready = True
        self._reading = None
        self._order = send_order.SendOrder(self._outbox.senders)
        self._watch.line_up(after_outage=self._sessions > 0)
        self._outbox.line_up(after_outage=self._sessions > 0)
        self._sessions += 1
        for topic, payload in self._early:
            self.received(session, topic, payload)
        self.announce()
        self._tell_results()
        self._pump()

    # --- packs ---

    def _pump(self) -> None:
        if self._sending or not self._ready:
            return
        now = self._node.world.now_ms
        due = self._order.next(now, self._at_hand if self._reading else None)
        if due is None:
            self._wake_at(self._order.next_due_ms())
            return
        session, (lane, header) = self._session, due
        self._watch.chosen(lane, header)
        if self._outbox.at_hand(lane, header):
            self._sending = True
            self._outbox.body(lane, header, lambda body: self._send(session, lane, header, body))
            self._node.world.after(_BETWEEN_PACKS_MS, self._node, self._sent)
        else:
            self._reading = (lane, header.epoch)

            def read(body: bytes | None) -> None:
                if session is self._session:
                    self._reading = None
                    self._send(session, lane, header, body)
                    self._pump()

            self._outbox.body(lane, header, read)
            self._pump()

    def _at_hand(self, lane: str, header: Header) -> bool:
        return (lane, header.epoch) != self._reading and self._outbox.at_hand(lane, header)

    def _send(self, session: Session | None, lane: str, header: Header, body: bytes | None) -> None:
        if session is None or session is not self._session:
            return
        self._watch.sent(lane, header)
        if body is None:
            return
        world = self._node.world
        self._node.act()
        if world.trace is not None:
            kind = "backfill " if header.backfill else ""
            world.note(self._node.name, f"sends {kind}{lane} {world.place(header)}, base {header.base}")
        session.publish(topics.up(GATEWAY, self._gateway, lane), encode_header(header) + body)

    def _sent(self) -> None:
        self._sending = False
        self._pump()

    def _wake_at(self, time_ms: int | None) -> None:
        if time_ms is not None and (self._wakes_ms is None or time_ms < self._wakes_ms):
            self._wakes_ms = time_ms
            self._node.world.at(max(time_ms, self._node.world.now_ms + 10), self._node, self._wake)

    def _wake(self) -> None:
        self._wakes_ms = None
        self._pump()

    # --- results ---

    def _answer(self, request: Request, result: Result) -> None:
        self._answers[request.key] = result
        self._tell_results()

    def _tell_results(self) -> None:
        session = self._session
        if session is not None and self._ready:
            self._commands.untold(lambda results: self._publish_results(session, results))

    def _publish_results(self, session: Session, results: list[Result]) -> None:
        if session is not self._session:
            return
        answers = {result.key: result for result in results} | self._answers
        self._answers = {}
        for key, result in answers.items():
            self._node.act()
            session.publish(
                topics.result(GATEWAY, self._gateway), encode_result(result), done=self._commands.teller(key)
            )

    def _birth(self) -> dict[str, object]:
        things = sorted({thing for thing, _, _ in self._outbox.streams.values()})
        return {
            "state": "online",
            "gateway": self._gateway,
            "incarnation": self._incarnation,
            "instance": self._instance,
            "name": _NAME,
            "time_ms": self._clock(),
            "things": [
                {"id": thing, "kind": "k", "model": "m", "maker": "m", "name": _NAME, "state": "online"}
                for thing in things
            ],
            "streams": [
                {"alias": alias, "thing": thing, "metric": metric, "unit": unit, "name": _NAME}
                for alias, (thing, metric, unit) in self._outbox.streams.items()
            ],
        }


def _nothing() -> None:
    """The broker has it."""
