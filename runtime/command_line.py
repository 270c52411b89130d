"""A command as a person writes it on a command line, at the gateway as at the hub, and how its end is told."""

import argparse
import json
import secrets
import time

from protocols.command import DONE, Request, Result
from protocols.reading import to_text
from protocols.topics import is_id

_MOST_S = 86_400


class RequestError(Exception):
    """What was written is no command."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What a command is made of."""
    parser.add_argument("thing", help="the device's id")
    parser.add_argument("name", metavar="command", help="a command of the device's file")
    parser.add_argument("value", help="a number, true, false, or text")
    parser.add_argument("--key", help="the command's own key: repeated with the same key it is not carried out again")
    parser.add_argument("--expires", type=float, default=10.0, metavar="S", help="seconds to live (default 10)")


def request_of(options: argparse.Namespace) -> Request:
    """The request. Raises RequestError."""
    key = options.key or secrets.token_hex(8)
    for name, text in (("--key", key), ("thing", options.thing), ("command", options.name)):
        if not is_id(text):
            raise RequestError(f"{name} {text!r} is not 1 to 64 of A-Z a-z 0-9 _ -")
    if not 0 < options.expires <= _MOST_S:
        raise RequestError(f"--expires must be more than 0 and at most {_MOST_S} seconds")
    expires_ms = time.time_ns() // 1_000_000 + round(options.expires * 1000)
    return Request(key, options.thing, options.name, _value(options.value), expires_ms)


def _value(text: str) -> bool | int | float | str:
    """JSON's numbers, true and false; anything else is text."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, (bool, int, float)) else text


def print_result(result: Result) -> int:
    """Say how it ended; the exit code is 0 if it was done."""
    text = result.state
    if result.reason:
        text += f": {result.reason}"
    if result.value is not None:
        value = json.dumps(result.value) if isinstance(result.value, bool) else to_text(result.value)
        text += f", reads back {value}"
    print(f"{text} (key {result.key})")
    return 0 if result.state == DONE else 1
