"""Why the device started anew: kept on flash until the gateway has been told, in the birth certificate."""

import os

from firmware.core import files

_NAME = "/crash"
_MOST_BYTES = 600


def keep(directory: str, text: str) -> None:
    """Keep the reason. An older one stays, since what came first is the cause; it must not fail for want of room."""
    try:
        if files.read(directory + _NAME) is None:
            files.write(directory + _NAME, text.encode()[-_MOST_BYTES:])
    except OSError as error:
        print("crash: not kept:", error)


def kept(directory: str) -> str:
    """The reason that is kept, or nothing."""
    return (files.read(directory + _NAME) or b"").decode()


def forget(directory: str) -> None:
    """The gateway has it."""
    if files.read(directory + _NAME) is not None:
        os.unlink(directory + _NAME)
