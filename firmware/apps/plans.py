"""The medication plan of this device: verified before it is kept, and in force until a newer one is."""

from firmware.core import ecdsa, files
from firmware.errors import PlanError
from protocols import medication
from protocols.errors import DecodeError, SignatureError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator

    from protocols.medication import MedicationPlan

# Why a plan is refused
MALFORMED, BAD_SIGNATURE, OTHER_DEVICE = "malformed", "bad signature", "other device"
DOWNGRADE, REPLAYED, ENDED, TOO_EARLY = "downgrade", "replayed", "ended", "too early"
_NAME = "/plan"


class Plans:
    """The plan of a device. `key`: the public key of its pharmacy, which came at provisioning."""

    def __init__(self, directory: str, *, device: str, key: bytes):
        self._path = directory + _NAME
        self._device = device
        self._key = key
        data = files.read(self._path)
        self.current: "MedicationPlan | None" = medication.decode(medication.split(data)[1]) if data else None

    def verify(self, data: bytes, unix_s: "int | None") -> "Generator[None, None, MedicationPlan]":
        """The plan in these bytes, if it may take the place of the current one; in steps of some milliseconds.

        Nothing of it is read before its signature has been verified. Raises PlanError.
        """
        try:
            signature, document = medication.split(data)
            yield from ecdsa.steps(self._key, medication.PURPOSE + document, signature)
            plan = medication.decode(document)
        except SignatureError as error:
            raise PlanError(BAD_SIGNATURE) from error
        except DecodeError as error:
            raise PlanError(MALFORMED) from error
        if plan.device != self._device:
            raise PlanError(OTHER_DEVICE)
        if self.current is not None and plan.version <= self.current.version:
            raise PlanError(REPLAYED if plan.version == self.current.version else DOWNGRADE)
        if unix_s is not None and not plan.from_s <= unix_s < plan.until_s:
            raise PlanError(ENDED if unix_s >= plan.until_s else TOO_EARLY)
        return plan

    def keep(self, plan: "MedicationPlan", data: bytes) -> None:
        """From now on this one is in force, also after a loss of power."""
        files.write(self._path, data)
        self.current = plan
