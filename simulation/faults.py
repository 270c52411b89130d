"""What each kind of fault does to the machines. How it is drawn: FAULTS in plan.py."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from protocols.topics import BULK
from simulation.gateway import NUMBERED
from simulation.ledger import OWN
from simulation.network import FAIR, Weather
from simulation.plan import Fault

if TYPE_CHECKING:
    from simulation.run import Simulation

_SOON_MS = 5_000  # within which the power goes, though the machine does nothing
WEATHERS = (
    Weather(20, 5, (1, 60), True),  # messages are lost
    Weather(0, 25, (1, 400), False),  # they overtake each other, and come twice
    Weather(60, 0, (50, 1500), True),  # a line that is hardly one
    Weather(100, 0, (1, 20), True),  # a line that is dead, and nobody notices
)


def _cut(simulation: "Simulation", fault: Fault) -> None:
    line = simulation.lines[fault.who]
    line.up = False
    line.hang_up(fault.detail)

    def mend() -> None:
        line.up = True

    simulation.world.after(fault.size, None, mend)


def _weather(simulation: "Simulation", fault: Fault) -> None:
    line = simulation.lines[fault.who]
    line.weather = WEATHERS[fault.detail]

    def clear() -> None:
        line.weather = FAIR

    simulation.world.after(fault.size, None, clear)


def _power_cut(simulation: "Simulation", fault: Fault) -> None:
    node = simulation.nodes[fault.who]
    if node.alive:
        node.cut_after(fault.detail, fault.size)
        simulation.world.after(_SOON_MS, node, node.die)


def _stop(simulation: "Simulation", fault: Fault) -> None:
    simulation.gateway.cut_after(0, fault.size)
    simulation.gateway.end()


def _full_disk(simulation: "Simulation", fault: Fault) -> None:
    until_ms = simulation.world.now_ms + fault.size
    if fault.who == "hub":
        simulation.hub.store.full_until_ms = until_ms
    else:
        simulation.gateway.storage.fill(until_ms)


def _broken_disk(simulation: "Simulation", fault: Fault) -> None:
    simulation.gateway.storage.refuse(simulation.world.now_ms + fault.size)


def _slow_disk(simulation: "Simulation", fault: Fault) -> None:
    simulation.gateway.slow_until_ms = simulation.world.now_ms + fault.size


def _flash_refuses(simulation: "Simulation", fault: Fault) -> None:
    simulation.device(fault.who).flash.refuses_until_ms = simulation.world.now_ms + fault.size


def _clock_step(simulation: "Simulation", fault: Fault) -> None:
    simulation.nodes[fault.who].wall_offset_ms += fault.size if fault.detail else -fault.size


def _burst(simulation: "Simulation", fault: Fault) -> None:
    for _ in range(fault.size):
        if fault.who == "gateway":
            simulation.gateway.read(simulation.ledger.number(OWN, NUMBERED), NUMBERED, BULK)
        else:
            simulation.device(fault.who).read(1)


def _broker_restart(simulation: "Simulation", fault: Fault) -> None:
    broker = simulation.hub_broker
    broker.up = False
    for line in broker.lines:
        line.hang_up(simulation.world.chance.randint(0, 500))

    def back() -> None:
        broker.up = True

    simulation.world.after(fault.size, None, back)


def _cursors_lost(simulation: "Simulation", fault: Fault) -> None:
    broker = simulation.hub_broker if fault.who == "hub" else simulation.gateway.broker
    broker.retained = {topic: payload for topic, payload in broker.retained.items() if "/cursor/" not in topic}


def _replaced(simulation: "Simulation", fault: Fault) -> None:
    gateway = simulation.gateway
    gateway.cut_after(0, fault.size)
    gateway.die()
    gateway.replace_storage(None)


def _put_back(simulation: "Simulation", fault: Fault) -> None:
    if fault.who == "hub":
        store, seen = simulation.hub.store.image(), simulation.ledger.hub_image()
    else:
        images = simulation.gateway.storage.images()

    def restore() -> None:
        node = simulation.nodes[fault.who]
        if simulation.world.trace is not None:
            simulation.world.note(fault.who, "is put back to an old image")
        node.cut_after(0, fault.size)
        node.die()
        if fault.who == "hub":
            simulation.hub.store.restore(store)
            simulation.ledger.hub_put_back(seen)
        else:
            simulation.gateway.replace_storage(images)

    simulation.world.after(fault.detail, None, restore)


def _cloned(simulation: "Simulation", fault: Fault) -> None:
    simulation.clone_gateway(reads_for_ms=fault.size)


HAPPENS: dict[str, Callable[["Simulation", Fault], None]] = {
    "cut": _cut,
    "weather": _weather,
    "power cut": _power_cut,
    "stop": _stop,
    "full disk": _full_disk,
    "broken disk": _broken_disk,
    "slow disk": _slow_disk,
    "flash refuses": _flash_refuses,
    "clock step": _clock_step,
    "burst": _burst,
    "broker restart": _broker_restart,
    "cursors lost": _cursors_lost,
    "replaced": _replaced,
    "put back": _put_back,
    "cloned": _cloned,
}
