"""Labels of devices: the picture with the QR code, and the file that the device is given at production.

Both hold the secret, so both are readable by their owner alone.
"""

import io
import json
from pathlib import Path
from xml.sax.saxutils import escape

import segno

from hardware.boards import Board
from runtime.files import write_whole
from runtime.label import Label

_BUTTON = "button"  # the pin by which a device is provisioned anew
_MODULE = 4  # units of the drawing for a dot of the code
_TEXT = 14


def make(folder: Path, device: str, board: Board) -> tuple[Path, Path]:
    """Make a device's label: its picture (SVG), and the file for its flash. Raises LabelError, FileExistsError."""
    label = Label.make(device)
    picture, file = folder / f"{device}.svg", folder / f"{device}.label.json"
    for path in (picture, file):
        if path.exists():
            raise FileExistsError(f"{path} is there already; a device keeps its secret")
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(file, _for_device(label, board))
    write_whole(picture, drawing(label, board).encode())
    return picture, file


def drawing(label: Label, board: Board) -> str:
    """The label as SVG: the QR code, and below it in plain text which device it is, without the secret."""
    code = segno.make_qr(label.text(), error="q")
    side = code.symbol_size(scale=_MODULE, border=4)[0]
    body = io.BytesIO()
    code.save(body, kind="svg", scale=_MODULE, border=4, xmldecl=False, light="white")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{side}" height="{side + 3 * _TEXT}"'
        f' font-family="sans-serif" font-size="{_TEXT}" text-anchor="middle">'
        f'<rect width="100%" height="100%" fill="white"/>{body.getvalue().decode().strip()}'
        f'<text x="{side / 2:g}" y="{side + _TEXT:g}">{escape(label.device)}</text>'
        f'<text x="{side / 2:g}" y="{side + 5 * _TEXT / 2:g}">{escape(board.board.name.en)}</text></svg>\n'
    )


def _for_device(label: Label, board: Board) -> bytes:
    button = next((pin.pin for pin in board.pins if pin.name == _BUTTON), None)
    content = {"device": label.device, "board": board.board.model, "secret": label.secret.hex(), "button": button}
    return json.dumps(content).encode()
