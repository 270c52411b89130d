"""TOML files checked against a pydantic model; an error names the file, the line, the key and the reason."""

import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

Model = TypeVar("Model", bound=BaseModel)

_HEADER = re.compile(r"^\s*\[(\[)?\s*([^\[\]]+?)\s*\]")
_KEY = re.compile(r"^\s*([A-Za-z0-9_\-\"'.]+)\s*=")
_REASONS = {"extra_forbidden": "there is no such key here", "missing": "is required"}
_LINE_IN_MESSAGE = re.compile(r"\(at line (\d+), column \d+\)")


class TomlFileError(Exception):
    """A file, TOML or JSON, that cannot be used.

    Attributes: path, line (or None), key (dotted, may be empty), reason.
    """

    def __init__(self, path: Path, line: int | None, key: str, reason: str):
        where = f"{path}:{line}" if line else str(path)
        super().__init__(f"{where}: {key}: {reason}" if key else f"{where}: {reason}")
        self.path = path
        self.line = line
        self.key = key
        self.reason = reason


def load_toml(
    path: Path, model: type[Model], *, context: Callable[[dict[str, Any]], dict[str, Any]] | None = None
) -> Model:
    """The file's content as `model`. Raises TomlFileError for the first thing that is wrong.

    context: makes, of the content as it was read, what the model's validators are given as their context.
    """
    text = read_text(path)
    content = parse_toml(path, text)
    try:
        return model.model_validate(content, context=context(content) if context else None)
    except ValidationError as error:
        first = error.errors()[0]
        missing = first["loc"][-1:] if first["type"] == "missing" else ()  # names nothing that the file has
        there = first["loc"][: len(first["loc"]) - len(missing)]
        location = tuple(part for part in there if part in _parts_of(content) or isinstance(part, int))
        dotted = ".".join(str(part) for part in ((*location, *missing) or first["loc"]))
        reason = _REASONS.get(first["type"], first["msg"].removeprefix("Value error, "))
        raise TomlFileError(path, line_of(text, location), dotted, reason) from error


def read_text(path: Path) -> str:
    """The file's text. Raises TomlFileError."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise TomlFileError(path, None, "", "there is no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise TomlFileError(path, None, "", f"cannot be read: {error}") from error


def parse_toml(path: Path, text: str) -> dict[str, Any]:
    """The content of a file's text. Raises TomlFileError."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = _LINE_IN_MESSAGE.search(str(error))
        reason = _LINE_IN_MESSAGE.sub("", str(error)).strip()
        raise TomlFileError(path, int(found[1]) if found else None, "", f"not TOML: {reason}") from error


def line_of(text: str, location: tuple[int | str, ...]) -> int | None:
    """The line (from 1) on which the deepest part of `location` that the text names is written."""
    best: tuple[int, int] | None = None
    table: tuple[int | str, ...] = ()
    counts: dict[tuple[int | str, ...], int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            table = _entered(header[2].replace('"', "").split("."), counts, is_list=bool(header[1]))
            here = table
        elif key := _KEY.match(line):
            here = (*table, *key[1].replace('"', "").split("."))
        else:
            continue
        depth = len(here)
        if location[:depth] == here and (best is None or depth > best[0]):
            best = (depth, number)
    return best[1] if best else None


def _entered(names: list[str], counts: dict[tuple[int | str, ...], int], *, is_list: bool) -> tuple[int | str, ...]:
    """The place that a header names; `counts` has how many tables each list has so far, of which it means the last."""
    place: tuple[int | str, ...] = ()
    for number, name in enumerate(names, 1):
        place += (name,)
        if is_list and number == len(names):
            counts[place] = counts.get(place, 0) + 1
        if place in counts:
            place += (counts[place] - 1,)
    return place


def _parts_of(content: object) -> set[object]:
    """Every key of the content: pydantic's locations also hold names of union members, which are no keys."""
    if isinstance(content, dict):
        return set(content) | {part for value in content.values() for part in _parts_of(value)}
    if isinstance(content, list):
        return {part for value in content for part in _parts_of(value)}
    return set()
