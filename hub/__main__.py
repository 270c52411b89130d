"""The hub's command line: python -m hub {run,ingest,web,gateway}."""

import argparse
import asyncio
import contextlib
import logging
import signal
import sys
from pathlib import Path

from hub import ingest, logins, supervisor, web
from hub.errors import SetupError


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="kerb hub", description="The hub: broker, store, web API and live page.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="run the whole hub: broker, ingest and web")
    one = commands.add_parser("ingest", help="run ingest alone: from the broker into the store")
    page = commands.add_parser("web", help="run the web API and the live page alone")
    gateway = commands.add_parser("gateway", help="let a gateway in, and print the password it logs in with")
    gateway.add_argument("id", help="the gateway's id, which is also its user name")
    for command in (run, one, page, gateway):
        command.add_argument("--data", type=Path, required=True, metavar="DIR", help="where everything is kept")
    for command in (run, one, page):
        command.add_argument("--host", default="127.0.0.1", help="the address to listen on, or ingest's broker")
    for command in (run, page):
        command.add_argument("--port", type=int, default=8080, help="the web's TCP port (default 8080)")
    for command in (run, one):
        command.add_argument("--mqtt-port", type=int, default=1883, help="the broker's TCP port (default 1883)")
    return parser


async def _ingest(options: argparse.Namespace) -> None:
    """Ends in order on SIGTERM: the batch that is being committed is finished."""
    task = asyncio.ensure_future(ingest.run(options.data, host=options.host, port=options.mqtt_port))
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task


def main() -> int:
    """Run a command. Exit code 2: it cannot be run as asked; one sentence on stderr says why."""
    options = _parser().parse_args()
    options.data = options.data.absolute()
    logging.basicConfig(level=logging.INFO, format=f"%(asctime)s {options.command} %(levelname)s %(message)s")
    try:
        if options.command == "run":
            asyncio.run(supervisor.run(options.data, host=options.host, port=options.port, mqtt_port=options.mqtt_port))
        elif options.command == "ingest":
            asyncio.run(_ingest(options))
        elif options.command == "web":
            web.run(options.data, host=options.host, port=options.port)
        else:
            print(logins.gateway_password(options.data, options.id))
    except SetupError as error:
        print(f"kerb hub: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"kerb hub: {error.strerror}: {error.filename or options.data}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
