"""Firmware updates of a gateway's devices: what each is offered and given, and how far it is. No I/O, no clock.

Whether an image may run is the device's to judge: it verifies signature, board, app and version. It also sets the pace;
the gateway offers, answers, and offers again what has been met with silence.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from edge.update_images import Image
from protocols.update import REFUSED, TRIAL, WANTS, Offer, Part, Step

OFFERED, TAKING, CURRENT, FAILED = "offered", "taking", "current", "failed"  # beside TRIAL and REFUSED
_AGAIN_MS = 30_000  # of silence


@dataclass
class Rollout:
    """Where a device is: `version` runs there, `wanted` is what it shall run (0: nothing is known of it)."""

    version: int = 0
    wanted: int = 0
    state: str = ""
    percent: int = 0
    reason: str = ""
    online: bool = False
    on_trial: bool = False
    failed: int = 0
    image: Image | None = None
    offer: Offer | None = None
    heard_ms: int = 0
    told: tuple[int, str] = (0, "")

    def text(self) -> str:
        """The state in words that fit a reading."""
        if not self.wanted or not self.state:
            return ""
        return f"{self.state} {self.wanted}" + (f": {self.reason}" if self.reason else "")


class Updates:
    """The updates of these things. `image_for(thing)` is asked again and again."""

    def __init__(self, things: Mapping[str, str], image_for: Callable[[str, str], Image | None]):
        self._models = things
        self._image_for = image_for
        self._rollouts = {thing: Rollout() for thing in things}

    def born(self, thing: str, certificate: Mapping[str, Any]) -> None:
        """A device's birth certificate; one without a version takes no updates."""
        rollout = self._rollouts[thing]
        version, failed, crash = [certificate.get(name, 0) for name in ("version", "failed", "crash")]
        rollout.offer = None  # it may have started anew
        rollout.online = certificate.get("state") != "offline" and _is_version(version) and version > 0
        if not rollout.online or not _is_version(failed):
            return
        rollout.version, rollout.failed, rollout.on_trial = version, failed, bool(certificate.get("trial"))
        if (failed or rollout.on_trial) and isinstance(crash, str) and crash.strip():
            rollout.reason = crash.strip().splitlines()[-1]

    def heard(self, thing: str, step: Step, now_ms: int) -> Part | None:
        """What a device says of its offer; returns the part that it shall be given."""
        rollout = self._rollouts[thing]
        if rollout.offer is None or rollout.image is None or step.id != rollout.offer.id:
            rollout.offer = None  # that of a gateway before this one, or of an image that is no more
            return None
        rollout.heard_ms = now_ms
        if step.state != WANTS:
            rollout.state, rollout.reason = step.state, step.reason
            return None
        content = rollout.image.contents[rollout.offer.base]
        rollout.state, rollout.reason, rollout.percent = TAKING, "", 100 * step.at // len(content)
        return Part(step.id, step.at, content[step.at : step.at + step.length])

    def due(self, thing: str, now_ms: int) -> Offer | None:
        """The offer that is to be made to a thing now."""
        rollout = self._rollouts[thing]
        image = self._image_for(thing, self._models[thing])
        if image is not rollout.image:
            if rollout.image is not None:
                rollout.state = rollout.reason = ""  # they are of the one before
            rollout.image, rollout.offer = image, None
            rollout.wanted = image.manifest.version if image else 0
        if image is None or not rollout.online:
            return None
        if rollout.version == rollout.wanted and not rollout.on_trial:
            rollout.state, rollout.reason = CURRENT, ""
        elif rollout.version == rollout.wanted:
            rollout.state = TRIAL
        elif rollout.failed == rollout.wanted:
            rollout.state = FAILED
        if rollout.on_trial or rollout.state in (CURRENT, FAILED, REFUSED):
            return None
        if rollout.offer is not None and now_ms - rollout.heard_ms < _AGAIN_MS:
            return None
        if rollout.state != TAKING:
            rollout.state, rollout.reason = OFFERED, ""
        rollout.heard_ms = now_ms
        rollout.offer = image.offer(rollout.version)
        return rollout.offer

    def news(self) -> Iterator[tuple[str, int, str]]:
        """Thing, version that runs, and the state in words, of each where they have changed."""
        for thing, rollout in self._rollouts.items():
            now = (rollout.version, rollout.text())
            if now != rollout.told:
                rollout.told = now
                yield thing, *now

    def states(self) -> dict[str, dict[str, Any]]:
        """For people, by thing."""
        return {
            thing: {name: getattr(rollout, name) for name in ("version", "wanted", "state", "percent", "reason")}
            for thing, rollout in self._rollouts.items()
            if rollout.version or rollout.wanted
        }


def _is_version(number: object) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and number >= 0
