"""Lines, sessions and brokers. As over TCP a session's messages come in order, unless the weather says otherwise.

A message without acknowledgement may be lost, come twice, or overtake another; one that is acknowledged (`done`) is
lost only with its session. A broken session is noticed late, or not before its line is up again.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from simulation.world import Node, World

_DIAL_MS = (500, 4000)


class Weather(NamedTuple):
    """loss, twice: the share of messages, in percent; delay_ms: from, to; orderly: none overtakes another."""

    loss: int
    twice: int
    delay_ms: tuple[int, int]
    orderly: bool


FAIR = Weather(0, 0, (1, 20), True)


class Client(Protocol):
    """What stands at the end of a line."""

    def connected(self, session: "Session") -> None:
        """A session has begun."""

    def disconnected(self, session: "Session") -> None:
        """It is noticed that it has ended."""

    def received(self, session: "Session", topic: str, payload: bytes, *, retained: bool) -> None:
        """A message."""


class Session:
    """One connection of a client to a broker; `open` until its line or its broker breaks it."""

    def __init__(self, line: "Line"):
        self.open = True
        self._line = line

    def publish(
        self, topic: str, payload: bytes, *, retain: bool = False, done: Callable[[], None] | None = None
    ) -> None:
        """To the broker; `done` is called when it has acknowledged."""
        line = self._line

        def arrive() -> None:
            line.broker.publish(topic, payload, retain=retain)
            if done is not None:
                line.carry(self, line.node, done, down=True, sure=True)

        line.carry(self, None, arrive, down=False, sure=done is not None)

    def deliver(self, topic: str, payload: bytes, *, retained: bool) -> None:
        """From the broker."""
        client = self._line.client
        self._line.carry(
            self,
            self._line.node,
            lambda: client.received(self, topic, payload, retained=retained),
            down=True,
            sure=retained,
        )


class Line:
    """The way of one client to its broker, and what becomes of messages on it. The client is `node`'s."""

    def __init__(
        self,
        world: World,
        name: str,
        node: Node,
        client: Client,
        *,
        broker: "Broker",
        wants: Callable[[str], bool],
        steady: bool = False,
        client_id: str = "",
    ):
        self.name = name
        self.client_id = client_id or name
        self.node = node
        self.client = client
        self.broker = broker
        self.wants = wants
        self.up = True
        self.weather = FAIR
        self.session: Session | None = None
        self._world = world
        self._delays = (0, 1) if steady else None  # within one machine
        self._last_ms = [0, 0]
        self._not_before_ms = 0
        broker.lines.append(self)

    def dial(self) -> None:
        """Connect, as soon as it is possible."""
        delay_ms = self._world.chance.randint(*_DIAL_MS) if self._delays is None else 5
        self._world.at(max(self._world.now_ms + delay_ms, self._not_before_ms), self.node, self._try)

    def _try(self) -> None:
        if not (self.up and self.broker.up) or self.session is not None:
            if self.session is None:
                self.dial()
            return
        for other in self.broker.lines:  # a broker has one session a client, the newest
            if other.client_id == self.client_id:
                other.hang_up(self._world.chance.randint(0, 100))
        self.session = Session(self)
        if self._world.trace is not None:
            self._world.note(self.name, "a session begins")
        for topic, payload in self.broker.retained.items():
            if self.wants(topic):
                self.session.deliver(topic, payload, retained=True)
        self.client.connected(self.session)

    def carry(self, session: Session, node: Node | None, call: Callable[[], None], *, down: bool, sure: bool) -> None:
        """Have a message arrive, once, twice or never."""
        if not session.open:
            return
        chance, weather = self._world.chance, self.weather
        copies = 1
        if not sure and (weather.loss or weather.twice):
            draw = chance.randrange(100)
            copies = 0 if draw < weather.loss else 2 if draw < weather.loss + weather.twice else 1

        def arrive() -> None:
            if session.open:
                call()

        for _ in range(copies):
            time_ms = self._world.now_ms + chance.randint(*(self._delays or weather.delay_ms))
            if weather.orderly:
                time_ms = self._last_ms[down] = max(time_ms, self._last_ms[down])
            self._world.at(time_ms, node, arrive)

    def hang_up(self, notice_ms: int | None, *, again_ms: int = 0) -> None:
        """The session breaks; the client notices after a while (None: its power is gone, and it never does), and dials
        again, not before `again_ms`."""
        self._not_before_ms = self._world.now_ms + again_ms
        session, self.session = self.session, None
        if session is None:
            return
        session.open = False
        if notice_ms is not None:
            self._world.after(notice_ms, self.node, lambda: self._noticed(session))

    def _noticed(self, session: Session) -> None:
        if self._world.trace is not None:
            self._world.note(self.name, "notices that its session has ended")
        self.client.disconnected(session)
        self.dial()


class Broker:
    """Passes messages on to those who want them, and keeps the retained ones."""

    def __init__(self) -> None:
        self.up = True
        self.retained: dict[str, bytes] = {}
        self.lines: list[Line] = []

    def publish(self, topic: str, payload: bytes, *, retain: bool) -> None:
        """A message has come."""
        if retain:
            self.retained[topic] = payload
        for line in self.lines:
            if line.session is not None and line.wants(topic):
                line.session.deliver(topic, payload, retained=False)
