"""The hub's command line: python -m hub COMMAND."""

import argparse
import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Coroutine
from datetime import datetime, timedelta
from pathlib import Path

from hub import enrolment, retention
from hub.errors import DamagedBlockError, SetupError, StoreError
from runtime.command_line import RequestError, add_arguments, print_result, request_of
from runtime.rules import load_rules
from runtime.toml import TomlFileError


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="kerb hub", description="The hub: broker, store, web API and live page.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="run the whole hub: broker, ingest and web")
    one = commands.add_parser("ingest", help="run ingest alone: from the broker into the store")
    page = commands.add_parser("web", help="run the web API and the live page alone")
    enrol = commands.add_parser("enrol", help="print a one-time token by which a gateway enrols")
    revoke = commands.add_parser("revoke", help="let a gateway in no longer, from now on")
    tell = commands.add_parser("command", help="tell a gateway to carry out a command, and wait for how it ends")
    for command in (enrol, revoke, tell):
        command.add_argument("gateway", help="the gateway's id")
    add_arguments(tell)
    enrol.add_argument("--hours", type=float, default=24, help="how long the token may be used (default 24)")
    run.add_argument(
        "--name",
        action="append",
        default=[],
        metavar="HOST",
        help="a host name or address by which gateways reach the broker; may be repeated",
    )
    save = commands.add_parser(
        "backup", help="write everything to one file while the hub runs; it holds the hub's keys"
    )
    save.add_argument("file", type=Path, help="the file to make")
    back = commands.add_parser("restore", help="make a hub's data of a backup")
    back.add_argument("file", type=Path, help="the backup")
    back.add_argument("--replace", action="store_true", help="put the data that is there aside, in a folder beside it")
    whole = commands.add_parser("check", help="say what of the store is damaged, if anything; it only reads")
    rules = commands.add_parser("rules", help="check alarm rules, or try them on what is stored")
    rules.add_argument("action", choices=("check", "test"))
    rules.add_argument("file", type=Path, help="a file of rules, TOML or JSON, or a folder of such files")
    for end, default in (("from", "a day before --to"), ("to", "now")):
        text = f"local time such as 2030-05-01T22:00 (default: {default})"
        rules.add_argument(f"--{end}", type=datetime.fromisoformat, metavar="TIME", help=text)
    tells = commands.add_parser("notify", help="tell people of alarms: check how, or try it; run: that part alone")
    tells.add_argument("action", choices=("check", "test", "run"))
    tells.add_argument("person", nargs="?", help="test: whom to tell, a person or a group of notify.toml")
    keep = commands.add_parser("retention", help="show how long readings are kept, or set it for a metric")
    keep.add_argument("metric", nargs="?", help="a metric, or * for all that have no policy of their own")
    keep.add_argument("--days", type=int, help="keep readings for so many days, then delete them")
    keep.add_argument("--step-minutes", type=int, metavar="N", help="keep steps of this length in their place")
    keep.add_argument("--step-days", type=int, metavar="DAYS", help="keep the steps so long (default: for ever)")
    keep.add_argument("--forever", action="store_true", help="keep the readings for ever, or as * says")
    for command in (run, one, page, enrol, revoke, tell, keep, save, back, rules, tells, whole):
        command.add_argument("--data", type=Path, required=True, metavar="DIR", help="where everything is kept")
    for command in (run, one, page, tell):
        command.add_argument("--host", default="127.0.0.1", help="the address to listen on, or where the broker is")
    for command in (run, page):
        command.add_argument("--port", type=int, default=8080, help="the web's TCP port (default 8080)")
    for command in (run, one, tell):
        command.add_argument("--mqtt-port", type=int, default=8883, help="the broker's TCP port (default 8883)")
    return parser


async def _ingest(options: argparse.Namespace) -> None:
    """Ends in order on SIGTERM: the batch that is being committed is finished."""
    from hub import ingest  # noqa: PLC0415 - as for _run

    await _until_stopped(ingest.run(options.data, host=options.host, port=options.mqtt_port))


async def _notify(options: argparse.Namespace) -> int:
    from hub.notify import command, work  # noqa: PLC0415 - as for _run

    if options.action == "run":
        await _until_stopped(work.run(options.data))
        return 0
    if options.action == "check":
        lines, wrong = command.check(options.data)
        for line in (*lines, *wrong):
            print(line)
        return int(bool(wrong))
    if not options.person:
        raise SetupError("name whom to tell: kerb hub notify test PERSON")
    failures = 0
    async for person, channel, reason in command.test(options.data, options.person):
        print(f"{person}, {channel}: {reason or 'taken'}")
        failures += bool(reason)
    return int(bool(failures))


async def _until_stopped(work: Coroutine[object, object, None]) -> None:
    task = asyncio.ensure_future(work)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task


def _retention(options: argparse.Namespace) -> None:
    given = {name: getattr(options, name) for name in ("days", "step_minutes", "step_days")}
    fields = {name: number for name, number in given.items() if number is not None}
    if options.metric and options.forever and not fields:
        retention.set_policy(options.data, options.metric, None)
    elif options.metric and "days" in fields and not options.forever:
        retention.set_policy(options.data, options.metric, retention.make_policy(fields))
    elif options.forever or fields:
        raise SetupError("name a metric and either --days, with --step-minutes and --step-days as needed, or --forever")
    known = {retention.ALL: "for ever", **retention.policies(options.data)}
    for metric in [options.metric] if options.metric else known:
        print(f"{metric}: {known.get(metric, known[retention.ALL])}")


def _rules(options: argparse.Namespace) -> None:
    from hub import replay  # noqa: PLC0415 - as for _run

    try:
        rules = load_rules(options.file)
        for rule in rules:
            print(f"{rule.id}, version {rule.version}: {rule.name['en']}, {rule.priority}, at the {rule.at}")
            if options.action == "test":
                end = options.to or datetime.now()
                begin = getattr(options, "from") or end - timedelta(days=1)
                for line in replay.told(options.data, rule, begin, end):
                    print(f"  {line}")
    except TomlFileError as error:
        raise SetupError(str(error)) from error
    except (StoreError, DamagedBlockError) as error:
        raise SetupError(f"the store in {options.data} cannot be read: {error}") from error


def _check(data: Path) -> int:
    from hub.store import checking  # noqa: PLC0415 - as for _run

    found = False
    try:
        for problem in checking.problems(data):
            found = True
            print(problem)
    except StoreError as error:
        raise SetupError(f"the store in {data} cannot be read: {error.reason}") from error
    if not found:
        print(f"the store in {data} is whole")
    return int(found)


def _restore(options: argparse.Namespace) -> None:
    from hub import backup  # noqa: PLC0415 - as for _run

    made = backup.restore(options.file, options.data, replace=options.replace)
    when = datetime.fromtimestamp(made.made_ms / 1000).astimezone().isoformat(timespec="seconds")
    print(f"{options.data}: {made.readings} readings as of {when}")
    print("What was stored later comes again as far as gateways still hold it; /api/v1/restores tells what is missing.")


def _run(options: argparse.Namespace) -> int:
    """The exit code."""
    # Each part imports what it alone needs: NiceGUI takes a second, which `hub enrol` would only wait for.
    match options.command:
        case "run":
            from hub import supervisor  # noqa: PLC0415

            ports = {"port": options.port, "mqtt_port": options.mqtt_port}
            asyncio.run(supervisor.run(options.data, host=options.host, names=options.name, **ports))
        case "ingest":
            asyncio.run(_ingest(options))
        case "web":
            from hub import web  # noqa: PLC0415

            web.run(options.data, host=options.host, port=options.port)
        case "backup":
            from hub import backup  # noqa: PLC0415

            made = backup.backup(options.data, options.file)
            print(f"{options.file}: {made.readings} readings, {made.files} files, {made.size} bytes")
        case "check":
            return _check(options.data)
        case "restore":
            _restore(options)
        case "retention":
            _retention(options)
        case "rules":
            _rules(options)
        case "notify":
            return asyncio.run(_notify(options))
        case "enrol":
            print(enrolment.make_token(options.data, options.gateway, hours=options.hours))
        case "revoke":
            enrolment.revoke(options.data, options.gateway)
            print(f"{options.gateway} is let in no longer")
        case "command":
            from hub import command  # noqa: PLC0415

            wanted = command.send(
                options.data, options.gateway, request_of(options), host=options.host, port=options.mqtt_port
            )
            return print_result(asyncio.run(wanted))
    return 0


def main() -> int:
    """Run a command. Exit code 2: it cannot be run as asked; one sentence on stderr says why."""
    options = _parser().parse_args()
    options.data = options.data.absolute()
    logging.basicConfig(level=logging.INFO, format=f"%(asctime)s {options.command} %(levelname)s %(message)s")
    try:
        return _run(options)
    except (SetupError, RequestError) as error:
        print(f"kerb hub: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"kerb hub: {error.strerror}: {error.filename or options.data}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
