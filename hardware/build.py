"""kerb firmware: builds a board's image of an app, signs it, makes patches; makes the signing key, and devices' labels.

kerb firmware key FILE
kerb firmware label DEVICE BOARD --out DIR
kerb firmware build BOARD APP --version 7 --out DIR [--key FILE] [--from DIR]
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from hardware import images, labels, signing
from hardware.boards import Board, BoardError, find
from hardware.patch import make_patch
from protocols.errors import DecodeError
from protocols.image import Manifest, decode_manifest, encode_manifest
from runtime.label import LabelError

_SLOT = "a"


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; the exit code."""
    parser = argparse.ArgumentParser(prog="kerb firmware", description="Firmware images of Kerb's devices.")
    commands = parser.add_subparsers(dest="command", required=True)
    key = commands.add_parser("key", help="make the key that signs images; its public half goes to FILE.pub")
    key.add_argument("file", type=Path)
    build = commands.add_parser("build", help="build an image, and the list of files that mpremote puts on a board")
    build.add_argument("board", help="a file of hardware/boards, by its name")
    build.add_argument("app", help=f"one of {', '.join(images.apps())}")
    build.add_argument("--version", type=int, required=True, help="a number that grows with every image of this board")
    build.add_argument("--name", help="the version as people call it (default: the number)")
    build.add_argument("--out", type=Path, required=True, help="the folder for the result; it must not be there yet")
    build.add_argument("--key", type=Path, help="sign it with this key")
    build.add_argument("--simulated", action="store_true", help="for the simulated board of hardware/sim")
    build.add_argument("--from", type=Path, dest="base", help="also make the patch from the image in this folder")
    label = commands.add_parser("label", help="make a device's label, with its secret, and the file for its flash")
    label.add_argument("device", help="the device's id")
    label.add_argument("board", help="a file of hardware/boards, by its name")
    label.add_argument("--out", type=Path, required=True, help="the folder for the result")
    options = parser.parse_args(arguments)
    try:
        if options.command == "key":
            _make_key(options.file)
        elif options.command == "label":
            _make_label(options.out, options.device, find(options.board))
        else:
            _build(options)
    except (images.BuildError, BoardError, DecodeError, LabelError, OSError, ValueError) as error:
        print(f"kerb firmware: {error}", file=sys.stderr)
        return 2
    return 0


def _make_key(file: Path) -> None:
    public = file.with_suffix(file.suffix + ".pub")
    public.write_bytes(signing.make_key(file))
    print(f"{file}: the private key, good for 1,024 signatures; keep it, and keep it secret")
    print(f"{public}: its public half, which goes on each board")


def _make_label(folder: Path, device: str, board: Board) -> None:
    picture, file = labels.make(folder, device, board)
    print(f"{picture}: to be printed and stuck on {device}; whoever reads it can provision the device")
    print(f"{file}: its secret, for the device: mpremote fs cp {file} :label.json")


def _build(options: argparse.Namespace) -> None:
    board = find(options.board)
    port = images.SIMULATED if options.simulated else images.port_of(board.board.micro)
    files = images.files(options.app, port)
    name = options.name or str(options.version)
    model = board.board.model + ("-simulated" if options.simulated else "")
    manifest = images.manifest(model, options.app, options.version, name, files)
    write_image(options.out, manifest, files, key=options.key, base=options.base)
    whole = sum(len(data) for data in files.values())
    print(f"{options.out}: {options.app} {name} for {model}, {len(files)} files, {whole} bytes")
    for patch in options.out.glob("from-*.patch"):
        percent = 100 * patch.stat().st_size / (options.out / "image.patch").stat().st_size
        print(f"{patch.name}: {patch.stat().st_size} bytes, {percent:.1f} % of the whole")


def write_image(
    out: Path, manifest: Manifest, files: dict[str, bytes], *, key: Path | None = None, base: Path | None = None
) -> None:
    """Write the folder of an image, which must not be there yet: what a device is offered, and what a board is flashed
    with. Signed with the private key in the file `key`; also as a patch against the image in the folder `base`."""
    decode_manifest(encode_manifest(manifest))  # what a device would refuse is not built
    out.mkdir(parents=True)
    _write_board_files(out / "files", files, manifest)
    (out / "manifest.json").write_bytes(encode_manifest(manifest))
    whole = b"".join(files.values())
    (out / "image.patch").write_bytes(make_patch(b"", whole))
    if key:
        (out / "signature").write_bytes(signing.sign(key, encode_manifest(manifest)))
        (out / "files" / "key.pub").write_bytes(signing.public_key(key))
    if base:
        version = decode_manifest((base / "manifest.json").read_bytes()).version
        (out / f"from-{version}.patch").write_bytes(make_patch(_image_in(base), whole))
    _write_list(out)


def _write_board_files(folder: Path, files: dict[str, bytes], manifest: Manifest) -> None:
    """The folder as the root of a board's flash is to be."""
    for path, data in files.items():
        target = folder / _SLOT / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    (folder / _SLOT / "manifest.json").write_bytes(encode_manifest(manifest))
    (folder / "slots.json").write_text(json.dumps({"good": _SLOT}))
    for path, data in images.boot_files().items():
        (folder / path).write_bytes(data)


def _image_in(folder: Path) -> bytes:
    manifest = decode_manifest((folder / "manifest.json").read_bytes())
    return b"".join((folder / "files" / _SLOT / path).read_bytes() for path, _ in manifest.files)


def _write_list(out: Path) -> None:
    """What mpremote does, a command a line, to be run in the folder `files`."""
    root = out / "files"
    paths = sorted(root.rglob("*"), key=lambda path: (path.is_file(), path))
    lines = [
        f"mpremote fs {'cp ' + name if path.is_file() else 'mkdir'} :{name}"
        for path in paths
        for name in [path.relative_to(root).as_posix()]
    ]
    (out / "flash.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(main())
