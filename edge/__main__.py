"""kerb edge: run a gateway, check its config, enrol it, admit its devices, command them; or look what is there."""

import argparse
import asyncio
import contextlib
import json
import logging
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from edge.command_socket import SOCKET, send
from edge.config import Config, load_config
from edge.device_authority import DeviceAuthority
from edge.enrol import enrol
from edge.errors import AdmissionError, EdgeError, UpdateError
from edge.provision.arguments import add_arguments as add_provision_arguments
from edge.scan.arguments import add_arguments as add_scan_arguments
from edge.update_images import Images
from runtime.command_line import RequestError, add_arguments, print_result, request_of
from runtime.process import port_in_use
from runtime.toml import TomlFileError

if TYPE_CHECKING:
    from edge.gateway import Gateway

_ENROLLED = """{gateway} is enrolled; its config wants:
[uplink]
kind = "hub"
url = "mqtts://HOST:8883"
ca = "{directory}/ca.pem"
certificate = "{directory}/gateway.pem"
key = "{directory}/gateway.key\""""


def main() -> int:
    """The command line. Exit 2 for what the user can mend: a config, a port, a file."""
    options = _parser().parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        if options.command == "enrol":
            enrol(options.hub, token=options.token, gateway=options.id, directory=options.dir)
            print(_ENROLLED.format(gateway=options.id, directory=options.dir))
            return 0
        if options.command == "scan":
            from edge.scan import command_line as scan  # noqa: PLC0415 - it needs the links

            return scan.run(options)
        if options.command in ("admit", "revoke"):
            return _admit_or_revoke(load_config(options.config, whole=False), options)
        if options.command == "provision":
            from edge.provision import command_line as provision  # noqa: PLC0415 - what it needs, the others do not

            return provision.run(options, load_config(options.config, whole=False))
        return _with_config(load_config(options.config), options)
    except (TomlFileError, EdgeError, RequestError) as error:
        print(f"kerb edge: {error}", file=sys.stderr)
        return 2


def _with_config(config: Config, options: argparse.Namespace) -> int:
    if options.command == "check":
        print(describe(config))
        return 0
    if options.command == "update":
        return _update(config, options)
    if options.command == "command":
        request = request_of(options)
        socket = config.path(config.gateway.data) / SOCKET
        return print_result(asyncio.run(send(socket, request, timeout_s=options.expires)))
    if port_in_use(config.page.host, config.page.port):
        raise EdgeError(f"port {config.page.port} is in use; give another one as page.port in {options.config}")
    from edge.gateway import Gateway  # noqa: PLC0415 - its links take a second to import; the others need none

    return asyncio.run(_run(Gateway(config)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="kerb edge", description="The Kerb gateway.")
    commands = parser.add_subparsers(dest="command", required=True)
    for command, text in (
        ("run", "run the gateway"),
        ("check", "say what the gateway would do with this config"),
        ("command", "have the running gateway carry out a command"),
        ("admit", "sign a device's public key: prints its certificate and our CA's as JSON, DER in hex"),
        ("revoke", "let a device in no longer"),
        ("update", "offer devices a firmware image; the running gateway follows within seconds"),
        ("provision", "give a new device its config, by the secret on its label"),
    ):
        sub = commands.add_parser(command, help=text)
        sub.add_argument("config", type=Path)
        if command in ("admit", "revoke"):
            sub.add_argument("device", help="the device's id, as thing of a link of kind mqtt")
        if command == "admit":
            sub.add_argument("key", type=_hex, help="its public key: 65 bytes in hex, as the device tells it")
        if command == "update":
            sub.add_argument("target", help="a thing, or a model for all of its things that have none of their own")
            image = sub.add_mutually_exclusive_group(required=True)
            image.add_argument("image", nargs="?", type=Path, help="what `kerb firmware build --key` has made")
            image.add_argument("--withdraw", action="store_true", help="offer it no longer")
        if command == "command":
            add_arguments(sub)
        if command == "provision":
            add_provision_arguments(sub)
    add_scan_arguments(commands.add_parser("scan", help="look what is there, and print config blocks for it"))
    sub = commands.add_parser(
        "enrol", help="get the gateway's certificate from a hub, with a token of `kerb hub enrol`"
    )
    sub.add_argument("--hub", required=True, metavar="URL", help="the hub's page, http://HOST:8080")
    sub.add_argument("--token", required=True, help="what `kerb hub enrol` has printed")
    sub.add_argument("--id", required=True, help="the gateway's id")
    sub.add_argument("--dir", required=True, type=Path, help="where the key and the certificates go")
    return parser


def _hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not hex") from None


def _admit_or_revoke(config: Config, options: argparse.Namespace) -> int:
    """A running gateway follows within a second. Raises AdmissionError."""
    authority = DeviceAuthority(config.path(config.gateway.data))
    if options.command == "revoke":
        authority.revoke(options.device)
        return 0
    if not any(link.kind == "mqtt" and device.thing == options.device for link, device in config.devices()):
        raise AdmissionError(
            options.device, f"{options.config} has no link of kind mqtt with this device; add it first"
        )
    admission = authority.admit(options.device, options.key)
    print(json.dumps({"certificate": admission.certificate.hex(), "ca": admission.ca.hex()}))
    return 0


def _update(config: Config, options: argparse.Namespace) -> int:
    """Raises UpdateError."""
    devices = [device for link, device in config.devices() if link.kind == "mqtt"]
    if not any(options.target in (device.thing, device.model) for device in devices):
        raise UpdateError(f"{options.config} has no device {options.target} of kind mqtt, and none of such a model")
    images = Images(config.path(config.gateway.data))
    if options.withdraw:
        images.withdraw(options.target)
        return 0
    manifest = images.give(options.target, options.image)
    print(f"{options.target}: {manifest.app} {manifest.name}, version {manifest.version} for {manifest.board}")
    return 0


async def _run(gateway: "Gateway") -> int:
    task = asyncio.create_task(gateway.run(), name="gateway")
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task
    return 0


def describe(config: Config) -> str:
    """What a gateway with this config does, line by line."""
    lines = [
        f"gateway {config.gateway.id} ({config.gateway.name.en}, {config.gateway.name.zh})",
        f"  sends to {config.uplink.url} as kind {config.uplink.kind}",
        f"  keeps up to {config.outbox.max_mb} MB in {config.path(config.gateway.data)},"
        f" committed every {config.outbox.commit_ms} ms",
        f"  shows itself at http://{config.page.host}:{config.page.port}",
    ]
    for link in config.links:
        lines.append(f"link {link.name}: {link.kind}, {link.where}")
        for device in link.devices:
            model = device.declared
            metrics = ", ".join(f"{name} [{metric.unit}]" for name, metric in model.metrics.items())
            lines.append(f"  {device.thing}: {model.device.name.en} {model.device.model} {device.address}".rstrip())
            lines.append(f"    reads {metrics}")
            if model.commands:
                lines.append(f"    takes {', '.join(model.commands)}")
    placed = config.placed_rules()
    for rule in config.rules:
        things = [thing for each, thing in placed if each is rule]
        lines.append(f"alarm {rule.id}, version {rule.version}: {rule.name['en']}, {rule.priority}")
        lines.append(f"  for {', '.join(things)}" if things else "  for nothing here")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
