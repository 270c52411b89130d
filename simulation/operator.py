"""Whoever gives commands at the hub: asks until told how each ended, as hub.command does."""

from typing import TYPE_CHECKING

from protocols import topics
from protocols.command import Request, decode_result, encode_request
from protocols.topics import GATEWAY
from simulation.network import Broker, Line, Session
from simulation.world import Node, World

if TYPE_CHECKING:
    from simulation.ledger import Ledger

_AGAIN_MS = 2000
_MARGIN_MS = 5000


class Operator(Node):
    """Never loses power; its line is steady."""

    def __init__(self, world: World, ledger: "Ledger", broker: Broker):
        super().__init__(world, "operator")
        self.waiting: dict[str, Request] = {}
        self._ledger = ledger
        self._session: Session | None = None
        self._line = Line(world, "operator line", self, self, broker=broker, wants=_is_result, steady=True)

    def boot(self) -> None:
        self._line.dial()

    def halt(self) -> None:
        self._line.hang_up(None)

    def give(self, gateway: str, request: Request) -> None:
        """Have something done."""
        self.waiting[request.key] = request
        self._ledger.orders.asked(request.key)
        self._ask(gateway, request)

    def connected(self, session: Session) -> None:
        self._session = session

    def disconnected(self, session: Session) -> None:
        self._session = None

    def received(self, session: Session, topic: str, payload: bytes, *, retained: bool) -> None:
        result = decode_result(payload)
        if self.world.trace is not None:
            self.world.note(self.name, f"hears that {result.key} is {result.state}")
        self._ledger.orders.ended(result)
        self.waiting.pop(result.key, None)

    def _ask(self, gateway: str, request: Request) -> None:
        if request.key not in self.waiting:
            return
        if self.wall_ms() > request.expires_ms + _MARGIN_MS:
            del self.waiting[request.key]
            return
        if self._session is not None:
            if self.world.trace is not None:
                self.world.note(self.name, f"asks for {request.key}")
            self._session.publish(topics.command(GATEWAY, gateway), encode_request(request))
        self.world.after(_AGAIN_MS, self, lambda: self._ask(gateway, request))


def _is_result(topic: str) -> bool:
    return topic.endswith("/result")
