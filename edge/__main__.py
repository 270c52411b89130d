"""kerb edge: run a gateway, or check its config."""

import argparse
import asyncio
import contextlib
import logging
import signal
import sys
from pathlib import Path

from edge.config import Config, load_config
from edge.errors import EdgeError
from edge.gateway import Gateway
from runtime.process import port_in_use
from runtime.toml import TomlFileError


def main() -> int:
    """The command line. Exit 2 for what the user can mend: a config, a port, a file."""
    parser = argparse.ArgumentParser(prog="kerb edge", description="The Kerb gateway.")
    commands = parser.add_subparsers(dest="command", required=True)
    for command, text in (("run", "run the gateway"), ("check", "say what the gateway would do with this config")):
        sub = commands.add_parser(command, help=text)
        sub.add_argument("config", type=Path)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        config = load_config(options.config)
        if options.command == "check":
            print(describe(config))
            return 0
        if port_in_use(config.page.host, config.page.port):
            raise EdgeError(f"port {config.page.port} is in use; give another one as page.port in {options.config}")
        return asyncio.run(_run(Gateway(config)))
    except (TomlFileError, EdgeError) as error:
        print(f"kerb edge: {error}", file=sys.stderr)
        return 2


async def _run(gateway: Gateway) -> int:
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
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
