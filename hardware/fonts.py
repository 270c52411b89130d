"""The pictures of characters, 16 x 16 dots: of GNU Unifont, for all that GB 2312 has.

    python -m hardware.fonts source [FILE]   make hardware/unifont/gb2312.hex.xz anew from Unifont's .hex file
    python -m hardware.fonts device          write firmware/apps/glyphs.py: the characters of the device's own texts

The source is in Unifont's own format, a line a character: "4E00:" and 32 or 64 hexadecimal digits, the rows from above.
"""

import argparse
import ast
import lzma
from collections.abc import Iterable
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "hardware" / "unifont" / "gb2312.hex.xz"
DEVICE = ROOT / "firmware" / "apps" / "glyphs.py"
TEXTS = ROOT / "firmware" / "apps" / "texts.py"
GLYPH_BYTES = 32
_UNIFONT = Path("/usr/share/unifont/unifont.hex")  # of Debian's package unifont
_ASCII = "".join(map(chr, range(32, 127)))


class FontError(Exception):
    """There is no picture of a character; the message names it."""


def glyphs(characters: Iterable[str]) -> bytes:
    """The pictures, one behind the other, 32 bytes each; a narrow one has its right half empty. Raises FontError."""
    return b"".join(_picture(character) for character in characters)


def _picture(character: str) -> bytes:
    digits = _source().get(ord(character))
    if digits is None:
        raise FontError(f"there is no picture of {character!r} (U+{ord(character):04X}); write it otherwise")
    raw = bytes.fromhex(digits)
    return raw if len(raw) == GLYPH_BYTES else b"".join(bytes([row, 0]) for row in raw)


@cache
def _source() -> dict[int, str]:
    lines = lzma.decompress(SOURCE.read_bytes()).decode().splitlines()
    return {int(code, 16): digits for code, digits in (line.split(":") for line in lines)}


def device_module(texts: Iterable[str]) -> str:
    """The module with the pictures of ASCII, which are 8 dots wide, and of all else that is in the texts."""
    wide = "".join(sorted({character for text in texts for character in text} - set(_ASCII)))
    narrow = glyphs(_ASCII)[::2]
    lines = [
        '"""Written by `python -m hardware.fonts device`: the characters of the texts in texts.py.',
        "",
        "Pictures of GNU Unifont (see hardware/unifont/README.md), a row of dots a byte or two, from above.",
        '"""',
        "",
        "WIDE = (",
        *[f'    "{wide[at : at + 48]}"' for at in range(0, len(wide), 48)],
        ")",
        "NARROW_PICTURES = (  # of ASCII from the blank on, 8 x 16 dots",
        *_literal(narrow),
        ")",
        "WIDE_PICTURES = (  # 16 x 16 dots",
        *_literal(glyphs(wide)),
        ")",
    ]
    return "\n".join(lines) + "\n"


def _literal(data: bytes) -> list[str]:
    """The bytes as lines of a literal, of 24 bytes each."""
    pieces = [data[at : at + 24] for at in range(0, len(data), 24)]
    return ['    b"' + "".join(f"\\x{byte:02x}" for byte in piece) + '"' for piece in pieces]


def _make_source(unifont: Path) -> None:
    wanted = {ord(character) for character in _ASCII} | set(_gb2312())
    lines = [line for line in unifont.read_text().splitlines() if int(line.split(":")[0], 16) in wanted]
    SOURCE.write_bytes(lzma.compress(("\n".join(lines) + "\n").encode(), preset=9))
    print(f"{SOURCE}: {len(lines)} characters, {SOURCE.stat().st_size} bytes")


def _gb2312() -> Iterable[int]:
    for row in range(0xA1, 0xF8):
        for cell in range(0xA1, 0xFF):
            try:
                yield ord(bytes((row, cell)).decode("gb2312"))
            except UnicodeDecodeError:
                continue


def device_texts() -> list[str]:
    """Every text in texts.py, which is read and not imported: firmware is none of our modules."""
    for node in ast.parse(TEXTS.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "TEXTS":
            return [text for pair in ast.literal_eval(node.value).values() for text in pair]
    raise FontError(f"{TEXTS} has no TEXTS")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m hardware.fonts", description="The pictures of characters.")
    commands = parser.add_subparsers(dest="command", required=True)
    source = commands.add_parser("source", help="take the characters of GB 2312 out of Unifont")
    source.add_argument("file", nargs="?", type=Path, default=_UNIFONT)
    commands.add_parser("device", help="write the characters that the device's own texts need")
    options = parser.parse_args()
    if options.command == "source":
        _make_source(options.file)
    else:
        DEVICE.write_text(device_module(device_texts()), encoding="utf-8")


if __name__ == "__main__":
    main()
