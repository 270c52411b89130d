"""Draws pages of text into a picture of 128 x 64 dots: 8 x 16 for ASCII, 16 x 16 for all else."""

import framebuf

from firmware.apps import glyphs
from firmware.apps.screens import ROWS, WIDTH, width

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firmware.apps.screens import Page

HEIGHT = 64
_ROW = HEIGHT // ROWS
_FIRST, _LAST = 32, 126
_NARROW_BYTES, _WIDE_BYTES = 16, 32
_LIGHT = framebuf.FrameBuffer(bytearray(b"\x40"), 2, 1, framebuf.MONO_HLSB)  # what becomes of a dot that is off, or on
_DARK = framebuf.FrameBuffer(bytearray(b"\x80"), 2, 1, framebuf.MONO_HLSB)


class Pen:
    """Writes into a buffer in the format MONO_VLSB. A plan brings the pictures of its own characters."""

    def __init__(self, buffer: bytearray):
        self._picture = framebuf.FrameBuffer(buffer, WIDTH, HEIGHT, framebuf.MONO_VLSB)
        self._characters, self._glyphs = "", b""

    def learn(self, characters: str, pictures: bytes) -> None:
        """The pictures of a plan's characters, 32 bytes each, in place of those of the plan before."""
        self._characters, self._glyphs = characters, pictures

    def draw(self, page: "Page") -> None:
        """Draw a page. Its heading is dark on light, or, if it is large, in the middle."""
        self._picture.fill(0)
        row = 0
        for place, line in enumerate(page.lines):
            if place == 0 and page.large:
                self._write(line, (WIDTH - 2 * width(line)) // 2, 0, 2)
                row += 2
                continue
            if place == 0:
                self._picture.fill_rect(0, 0, WIDTH, _ROW, 1)
            self._write(line, 0, row * _ROW, 1, dark=place == 0)
            row += 1

    def _write(self, line: str, x: int, y: int, scale: int, *, dark: bool = False) -> None:
        for character in line:
            picture, wide = self._find(character)
            dots = framebuf.FrameBuffer(bytearray(picture), wide, _ROW, framebuf.MONO_HLSB)
            if scale == 1:
                self._picture.blit(dots, x, y, -1, _DARK if dark else _LIGHT)
            else:
                self._enlarge(dots, wide, x, y, scale)
            x += wide * scale

    def _enlarge(self, dots: "framebuf.FrameBuffer", wide: int, x: int, y: int, scale: int) -> None:
        for down in range(_ROW):
            for along in range(wide):
                if dots.pixel(along, down):
                    self._picture.fill_rect(x + along * scale, y + down * scale, scale, scale, 1)

    def _find(self, character: str) -> "tuple[bytes, int]":
        """The picture, and how wide it is. Raises KeyError for a character that neither we nor the plan have."""
        code = ord(character)
        if _FIRST <= code <= _LAST:
            at = (code - _FIRST) * _NARROW_BYTES
            return glyphs.NARROW_PICTURES[at : at + _NARROW_BYTES], 8
        for characters, pictures in ((glyphs.WIDE, glyphs.WIDE_PICTURES), (self._characters, self._glyphs)):
            place = characters.find(character)
            if place >= 0:
                return pictures[place * _WIDE_BYTES : (place + 1) * _WIDE_BYTES], 16
        raise KeyError(character)
