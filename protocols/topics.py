"""MQTT topics: `d/<device>/...` on a gateway's broker and `g/<gateway>/...` on the hub's, alike below the name."""

from collections import namedtuple

from .errors import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple

    class Topic(NamedTuple):
        """A topic taken apart; `lane` is empty where the kind has none."""

        prefix: str
        sender: str
        kind: str
        lane: str

else:
    Topic = namedtuple("Topic", ("prefix", "sender", "kind", "lane"))

DEVICE = "d"
GATEWAY = "g"
URGENT = "urgent"
BULK = "bulk"
LANES = (URGENT, BULK)

_ID_CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
_KINDS_WITH_LANE = ("up", "cursor")
_KINDS = (
    "birth",
    "status",
    "cmd",
    "result",
    "refused",
    "tally",
    "offer",
    "part",
    "update",
) + _KINDS_WITH_LANE  # MicroPython cannot unpack into a tuple


def is_id(text: str) -> bool:
    """Whether the text may name a thing or a metric: 1 to 64 of A-Z a-z 0-9 _ -."""
    return 0 < len(text) <= 64 and all(character in _ID_CHARACTERS for character in text)


def birth(prefix: str, sender: str) -> str:
    """Where a sender announces itself (retained), and where its will declares it dead."""
    return f"{prefix}/{sender}/birth"


def status(prefix: str, sender: str) -> str:
    """Where a sender says what it holds (retained)."""
    return f"{prefix}/{sender}/status"


def up(prefix: str, sender: str, lane: str) -> str:
    """Where a sender's packs go."""
    return f"{prefix}/{sender}/up/{lane}"


def cursor(prefix: str, sender: str, lane: str) -> str:
    """Where the receiver says what it has stored (retained)."""
    return f"{prefix}/{sender}/cursor/{lane}"


def command(prefix: str, sender: str) -> str:
    """Where commands to a sender and its things go."""
    return f"{prefix}/{sender}/cmd"


def result(prefix: str, sender: str) -> str:
    """Where a sender says how commands ended."""
    return f"{prefix}/{sender}/result"


def refused(prefix: str, sender: str) -> str:
    """Where the hub says which gateways of this identity it refuses (retained)."""
    return f"{prefix}/{sender}/refused"


def tally(prefix: str, sender: str) -> str:
    """Where the hub gives back to a gateway what it knows of the epoch before (retained)."""
    return f"{prefix}/{sender}/tally"


def offer(prefix: str, sender: str) -> str:
    """Where a device is offered a firmware update."""
    return f"{prefix}/{sender}/offer"


def part(prefix: str, sender: str) -> str:
    """Where a device is given the parts of an update that it has asked for."""
    return f"{prefix}/{sender}/part"


def update(prefix: str, sender: str) -> str:
    """Where a device asks for parts of an update, and says what became of it."""
    return f"{prefix}/{sender}/update"


def plan(prefix: str, sender: str) -> str:
    """Where a dispenser is given its medication plan (retained)."""
    return f"{prefix}/{sender}/plan"


def parse(topic: str) -> "Topic":
    """The parts of one of our topics. Raises ProtocolError for any other."""
    levels = topic.split("/")
    lane = levels[3] if len(levels) == 4 else ""
    if (
        len(levels) not in (3, 4)
        or levels[0] not in (DEVICE, GATEWAY)
        or not is_id(levels[1])
        or levels[2] not in _KINDS
        or (levels[2] in _KINDS_WITH_LANE) != (lane in LANES)
    ):
        raise ProtocolError(f"not a topic of ours: {topic[:100]}")
    return Topic(levels[0], levels[1], levels[2], lane)
