"""The refusal message: the hub lets in no second gateway that says it is another. JSON, retained.

{"instances": ["9f3c01ab"]}: runs of a gateway's program, by the names in their birth certificates, that are refused
because one that was there before them has come back: two have the same identity, and the certificate to prove it.
"""

import json

from .errors import DecodeError
from .topics import is_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_MAX_BYTES = 4096


def encode(instances: "Sequence[str]") -> bytes:
    """The message's bytes."""
    return json.dumps({"instances": list(instances)}).encode()


def decode(data: bytes) -> list[str]:
    """The instances that are refused. Raises DecodeError."""
    if len(data) > _MAX_BYTES:
        raise DecodeError("refusal", f"{len(data)} bytes are too many")
    try:
        instances = json.loads(data)["instances"]
    except (ValueError, KeyError, TypeError, RuntimeError) as error:  # RuntimeError: nested too deeply
        raise DecodeError("refusal", f"not a refusal: {error}") from None
    if not isinstance(instances, list) or not all(isinstance(each, str) and is_id(each) for each in instances):
        raise DecodeError("refusal", "instances are not a list of names")
    return instances
