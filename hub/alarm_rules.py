"""The hub's alarm rules: the files in the folder `rules` of its data, and what it always watches for."""

from pathlib import Path

from hub.errors import SetupError
from protocols.alarm import HUB, Rule, read_rule
from runtime.rules import load_rules
from runtime.toml import TomlFileError

FOLDER = "rules"

# That a gateway is away only the hub can tell. A rule of the same id in the folder stands in its place.
GATEWAY_AWAY = read_rule(
    {
        "id": "gateway-away",
        "version": 1,
        "name": {"en": "Gateway is away", "zh": "网关离线"},
        "priority": "medium",
        "at": HUB,
        "kinds": ["gateway"],
        "when": {"metric": "online", "equals": False, "delay_on_s": 120, "delay_off_s": 10},
    }
)


def load(data: Path) -> list[Rule]:
    """All rules. Raises SetupError for the first thing that is wrong, with file, line and key."""
    folder = data / FOLDER
    try:
        own = load_rules(folder) if folder.is_dir() else ()
    except TomlFileError as error:
        raise SetupError(str(error)) from error
    return [*own, *([] if any(rule.id == GATEWAY_AWAY.id for rule in own) else [GATEWAY_AWAY])]


def signature(data: Path) -> tuple[tuple[str, int, int], ...]:
    """What changes when any of the files does."""
    folder = data / FOLDER
    if not folder.is_dir():
        return ()
    found = [(path.name, path.stat()) for path in sorted(folder.iterdir())]
    return tuple((name, stat.st_mtime_ns, stat.st_size) for name, stat in found)
