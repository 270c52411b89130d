"""One seed: machines, load and faults as planned, then calm; and the verdict."""

import hashlib
import logging
import random
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random

from edge import outbox_state
from protocols.command import Request
from protocols.topics import BULK, URGENT
from simulation.alarms import LEVEL
from simulation.device import Device
from simulation.faults import HAPPENS
from simulation.gateway import NUMBERED, QUIET, Gateway
from simulation.hub import Hub
from simulation.ledger import OWN, Ledger, Violation
from simulation.network import FAIR, Broker, Line
from simulation.operator import Operator
from simulation.plan import MINUTE_MS, Fault, Order, Plan
from simulation.world import Line as TraceLine
from simulation.world import Node, World

_IDENTITY = "gw"
_SECTOR_BYTES = 1024
_CALM_MS = 15 * MINUTE_MS  # within which a backlog must end


@dataclass
class Outcome:
    """What became of a run. `invariant` is empty if all of them held."""

    plan: Plan
    invariant: str = ""
    what: str = ""
    steps: int = 0
    simulated_ms: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    trace: list[TraceLine] | None = None

    def digest(self) -> str:
        """A number for all that happened, in its order."""
        return hashlib.sha256(repr((self.trace, self.invariant, self.what, self.steps)).encode()).hexdigest()


def run(plan: Plan, *, traced: bool = False) -> Outcome:
    """Let it all happen."""
    logging.disable(logging.CRITICAL)  # the cores report each fault
    random.seed(f"cores {plan.seed}")  # the cores draw incarnations and nonces from here
    simulation = Simulation(plan, traced=traced)
    outcome = Outcome(plan)
    try:
        with _bounds(plan.memory_bytes):
            simulation.run()
    except Violation as violation:
        outcome.invariant, outcome.what = violation.invariant, str(violation)
    except Exception as error:  # noqa: BLE001 - whatever a core raises is found, and told with its place
        place = traceback.extract_tb(error.__traceback__)[-1]
        outcome.invariant = "error"
        outcome.what = f"{type(error).__name__} in {place.name}, line {place.lineno}: {error}"
    finally:
        logging.disable(logging.NOTSET)
    outcome.steps = simulation.world.steps
    outcome.simulated_ms = simulation.world.now_ms
    outcome.faults = Counter(fault.kind for fault in plan.faults)
    outcome.trace = simulation.world.trace
    return outcome


@contextmanager
def _bounds(memory_bytes: int) -> Iterator[None]:
    """The outbox's bounds in memory, made so small that they are met."""
    names = ("_HOT_BYTES", "_WAITING_BYTES", "_BATCH_BYTES")
    usual = {name: getattr(outbox_state, name) for name in names}
    for name, value in usual.items():
        setattr(outbox_state, name, min(value, memory_bytes))
    try:
        yield
    finally:
        for name, value in usual.items():
            setattr(outbox_state, name, value)


class Simulation:
    """All machines of a plan."""

    def __init__(self, plan: Plan, *, traced: bool):
        self.plan = plan
        self.world = World(Random(f"world {plan.seed}"), traced=traced)
        self.ledger = Ledger(self.world)
        self.hub_broker = Broker()
        self.hub = Hub(self.world, self.ledger, self.hub_broker)
        self.ledger.store = self.hub.store
        self.operator = Operator(self.world, self.ledger, self.hub_broker)
        names = [f"device-{number}" for number in range(plan.devices)]
        self.gateway = self._gateway("gateway", names)
        self.gateways = [self.gateway]
        self.devices = [self._make_device(name) for name in names]
        self.nodes: dict[str, Node] = {node.name: node for node in (self.hub, self.gateway, *self.devices)}
        self.lines: dict[str, Line] = {line.name: line for line in self.hub_broker.lines + self.gateway.broker.lines}
        self._stormy = True
        self._read = 0
        self._high = False
        self.world.after_step.append(self._check)

    def run(self) -> None:
        """The storm, then the calm. Raises Violation."""
        plan, world = self.plan, self.world
        for node in (self.hub, self.operator, self.gateway, *self.devices):
            node.start()
        if plan.own_ms:
            world.after(plan.own_ms, None, self._read_own)
        for device in self.devices:
            world.after(plan.device_ms, None, self._reader(device))
        for fault in plan.faults:
            world.at(fault.at_ms, None, self._befalls(fault))
        for number, order in enumerate(plan.orders):
            world.at(order.at_ms, None, self._gives(number, order))
        world.run(plan.storm_ms)
        self._calm_down()
        world.run(plan.storm_ms + _CALM_MS, self._is_done)
        if not self._is_done():
            self.ledger.violated("stall", self._left())
        self.ledger.told.check(self.gateway)

    # --- load ---

    def _read_own(self) -> None:
        self._read += 1
        plan = self.plan
        lane = URGENT if plan.urgent_each and self._read % plan.urgent_each == 0 else BULK
        if self.gateway.alive:
            self.gateway.read(self.ledger.number(OWN, NUMBERED), NUMBERED, lane)
            self.gateway.read(self.ledger.number(OWN, QUIET), QUIET, BULK)
            if plan.alarms:
                if self.world.chance.randrange(6) == 0:
                    self._high = not self._high
                (number,) = self.ledger.number(OWN, LEVEL)
                self.gateway.read([number if self._high else -number], LEVEL, BULK)
        if self._stormy:
            self.world.after(plan.own_ms, None, self._read_own)

    def _reader(self, device: Device) -> Callable[[], None]:
        def read() -> None:
            device.read(self.world.chance.randint(1, 3))
            if self._stormy:
                self.world.after(self.plan.device_ms, None, read)

        return read

    def _gives(self, number: int, order: Order) -> Callable[[], None]:
        request = Request(f"c{number}", OWN, "set", number, self.operator.wall_ms() + order.at_ms + order.lives_ms)

        def give() -> None:
            self.operator.give(_IDENTITY, request)
            if order.repeated:
                self.world.after(order.lives_ms // 2, None, lambda: self.operator.give(_IDENTITY, request))

        return give

    # --- faults ---

    def _befalls(self, fault: Fault) -> Callable[[], None]:
        def happen() -> None:
            if self.world.trace is not None:
                self.world.note("*", f"{fault.kind}: {fault.who}, {fault.size}, {fault.detail}")
            HAPPENS[fault.kind](self, fault)

        return happen

    def device(self, name: str) -> Device:
        """The device of that name."""
        return self.devices[int(name[-1])]

    def clone_gateway(self, *, reads_for_ms: int) -> None:
        """A copy of the gateway's disk runs in a second machine, with the same identity; the devices stay."""
        clone = self._gateway(f"clone-{len(self.gateways)}", [])
        clone.become(self.gateway.storage.images())
        self.ledger.orders.storage_changed(for_ever=True)
        self.ledger.told.doubtful = True
        self.gateways.append(clone)
        self.nodes[clone.name] = clone
        self.lines[clone.line.name] = clone.line
        clone.start()
        until_ms = self.world.now_ms + reads_for_ms

        def read() -> None:
            clone.read(self.ledger.number(OWN, NUMBERED), NUMBERED, BULK)
            if self._stormy and self.world.now_ms < until_ms:
                self.world.after(1000, None, read)

        read()

    def _calm_down(self) -> None:
        """All machines have power, all lines are up, all disks have room, and stay so."""
        self._stormy = False
        for line in self.lines.values():
            line.up, line.weather = True, FAIR
        self.hub_broker.up = True
        self.hub.store.full_until_ms = 0
        for gateway in self.gateways:
            gateway.storage.fill(0)
            gateway.storage.refuse(0)
            gateway.slow_until_ms = 0
        for device in self.devices:
            device.flash.refuses_until_ms = 0
        for node in self.nodes.values():
            node.cut_after(0, 1000)
        for clone in self.gateways[1:]:  # it is refused as long as the other one is there, which is for ever
            clone.taken_away()
            del self.nodes[clone.name]
        del self.gateways[1:]

    def _is_done(self) -> bool:
        return (
            not self.ledger.outstanding
            and not self.operator.waiting
            and all(node.alive for node in self.nodes.values())
            and all(gateway.is_idle for gateway in self.gateways)
        )

    def _left(self) -> str:
        off = [name for name, node in self.nodes.items() if not node.alive]
        busy = [gateway.name for gateway in self.gateways if gateway.alive and not gateway.is_idle]
        return (
            f"{_CALM_MS // MINUTE_MS} minutes after the last fault {len(self.ledger.outstanding)} readings and"
            f" {len(self.operator.waiting)} commands are not through; off: {off}, not idle: {busy}"
        )

    def _check(self) -> None:
        for gateway in self.gateways:
            if gateway.alive:
                gateway.watch.check()

    # --- machines ---

    def _gateway(self, place: str, devices: list[str]) -> Gateway:
        plan = self.plan
        return Gateway(
            self.world,
            self.ledger,
            self.hub_broker,
            identity=_IDENTITY,
            place=place,
            devices=devices,
            most_pages=plan.most_pages,
            commit_ms=plan.commit_ms,
        )

    def _make_device(self, name: str) -> Device:
        plan = self.plan
        return Device(
            self.world,
            self.ledger,
            self.gateway.broker,
            name,
            sectors=plan.sectors,
            sector_bytes=_SECTOR_BYTES,
            clock=plan.device_has_clock,
        )
