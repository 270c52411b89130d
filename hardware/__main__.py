"""kerb hardware: checks and draws the boards that hardware/boards declares.

kerb hardware check [BOARD ...]
kerb hardware draw BOARD [--out FILE]
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from hardware import boards, wiring
from hardware.drawing import draw
from runtime.toml import TomlFileError


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; the exit code."""
    parser = argparse.ArgumentParser(prog="kerb hardware", description="The boards that Kerb's firmware runs on.")
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check", help="look for pin conflicts, missing pull-ups, overloaded rails and the like")
    check.add_argument("boards", nargs="*", metavar="BOARD", help="files of hardware/boards, by name (default: all)")
    drawing = commands.add_parser("draw", help="draw a board's wiring diagram (SVG)")
    drawing.add_argument("board", metavar="BOARD")
    drawing.add_argument("--out", type=Path, help="the file (default: BOARD.svg)")
    options = parser.parse_args(arguments)
    try:
        return _check(options.boards or boards.names()) if options.command == "check" else _draw(options)
    except (boards.BoardError, TomlFileError, OSError) as error:
        print(f"kerb hardware: {error}", file=sys.stderr)
        return 2


def _check(names: Sequence[str]) -> int:
    bad = 0
    for name in names:
        found = wiring.problems(boards.find(name))
        bad += bool(found)
        print(f"{name}: {'may be built' if not found else ''}".rstrip())
        for problem in found:
            print(f"  {problem}")
    return 1 if bad else 0


def _draw(options: argparse.Namespace) -> int:
    file = options.out or Path(f"{options.board}.svg")
    file.write_text(draw(boards.find(options.board)), encoding="utf-8")
    print(file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
