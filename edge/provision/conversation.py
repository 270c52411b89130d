"""What a technician's side says to a device, over any line."""

import asyncio
import secrets
from collections.abc import Callable
from typing import Protocol

from edge.errors import ProvisionError
from edge.provision.words import word
from protocols.errors import DecodeError, EncodeError, OtherDeviceError, RefusedError
from protocols.provisioning import NONCE_BYTES, Technician
from protocols.provisioning.content import (
    DESCRIBE,
    Description,
    Provision,
    decode_description,
    decode_result,
    encode_provision,
)
from runtime.aes import encrypt_blocks
from runtime.label import Label

ANSWER_S = 10.0  # a config in the smallest pieces takes a slow radio some seconds


class Line(Protocol):
    """What carries messages to a device and back. Both raise LinkError when it fails."""

    async def send(self, message: bytes) -> None:
        """Send a message."""

    async def receive(self) -> bytes:
        """The next message."""


async def provision(
    line: Line, label: Label, prepare: Callable[[Description], Provision], said: Callable[[str], None]
) -> Description:
    """Give the label's device what `prepare` makes of its description, and return that. Tells `said` of each step.

    Raises ProvisionError: nothing was changed, unless it says otherwise. Raises LinkError, and what `prepare` raises.
    """
    technician = Technician(label.device, label.secret, secrets.token_bytes(NONCE_BYTES), encrypt_blocks)
    try:
        technician.confirm(await _ask(line, technician.prove(await _ask(line, technician.hello()))))
        said(word("proven", label.device))
        description = decode_description(technician.open(await _ask(line, technician.seal(DESCRIBE))))
        request = technician.seal(encode_provision(prepare(description)))
        said(word("admitted", description.board, description.firmware))
    except TimeoutError:
        raise ProvisionError(label.device, word("no answer")) from None
    except (RefusedError, OtherDeviceError, DecodeError, EncodeError) as error:
        raise ProvisionError(label.device, reason_of(error)) from error
    try:
        refusal = decode_result(technician.open(await _ask(line, request)))
    except (TimeoutError, RefusedError, DecodeError) as error:
        raise ProvisionError(label.device, word("unknown end")) from error
    if refusal:
        raise ProvisionError(label.device, word("refused config", refusal))
    said(word("stored"))
    return description


def reason_of(error: RefusedError | OtherDeviceError | DecodeError | EncodeError) -> str:
    """Why it ended, for a person."""
    if isinstance(error, OtherDeviceError):
        return word("other device", error.device)
    if isinstance(error, RefusedError):
        return word(f"refused {error.reason}", error.wait_s)
    return word("broken", error)


async def _ask(line: Line, message: bytes) -> bytes:
    async with asyncio.timeout(ANSWER_S):
        await line.send(message)
        return await line.receive()
