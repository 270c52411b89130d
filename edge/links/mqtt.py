"""Devices that speak MQTT: the gateway's own broker, and custody of what their journals hold.

A device's pack is taken over in order and once; its cursor is published after our commit, and only then does the device
delete its copy.
"""

import asyncio
import contextlib
import json
import logging
import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edge import config
from edge.errors import ActionFailed, ActionRefused, LinkError
from edge.links.base import Attached, Clock, Intake, Origin, Surroundings
from edge.links.entrusted import Entrusted, decode
from edge.update_images import Images
from edge.updates import Updates
from hardware.catalogue import Command
from protocols import cursor, senml, topics, update
from protocols.command import DONE, FAILED, Request, Result, decode_result, encode_request
from protocols.custody import AHEAD, STORE
from protocols.errors import DecodeError, ProtocolError
from protocols.reading import reading
from runtime.broker import BrokerError, EmbeddedBroker, User
from runtime.mqtt import Broker, Message, MqttError, Session, keep_session

if TYPE_CHECKING:
    from protocols.reading import Value

logger = logging.getLogger(__name__)

_SELF = "gateway"
_RESULT_MS = 5000  # within which a device says how a command ended
_LOOK_S = 2.0  # between two looks whether there is an update to be offered


def make_link(declared: config.MqttLink, surroundings: Surroundings) -> "MqttLink":
    """The link as the config declares it. Raises ConfigError for a password that cannot be read."""
    made = MqttLink(
        name=declared.name,
        directory=_volatile(surroundings.data) / f"broker-{declared.name}",
        host=declared.host,
        port=declared.port,
        devices=[Attached(device.thing, device.declared, device.address) for device in declared.devices],
        passwords={device.thing: surroundings.secret(device.password_file) for device in declared.devices},
        cursors=surroundings.cursors(),
        images=surroundings.images,
        intake=surroundings.intake,
        clock=surroundings.clock,
    )
    surroundings.on_committed(made.committed)
    surroundings.show_updates(made.updates)
    return made


class MqttLink:
    """The broker for a gateway's MQTT devices, and the receiver of each. `passwords` by device id."""

    def __init__(
        self,
        *,
        name: str,
        directory: Path,
        host: str,
        port: int,
        devices: Sequence[Attached],
        passwords: Mapping[str, str],
        cursors: Mapping[tuple[str, str], dict[int, int]],
        images: Images,
        intake: Intake,
        clock: Clock,
    ):
        self.name = name
        self._devices = {device.thing: device for device in devices}
        self._intake = intake
        self._clock = clock
        self._session: Session | None = None
        self._results: dict[tuple[str, str], asyncio.Future[Result]] = {}  # that are waited for
        self._session_id = secrets.token_hex(4)
        self._entrusted = Entrusted(self._devices, cursors)
        self._answer = asyncio.Event()
        self.updates = Updates({device.thing: device.model.device.model for device in devices}, images.for_thing)
        self._parts: dict[str, update.Part] = {}  # that devices wait for, one each
        self._update_news = asyncio.Event()
        password = secrets.token_urlsafe(24)
        self._broker = EmbeddedBroker(
            directory,
            host=host,
            port=port,
            users=[User(_SELF, ["d/#"], ["d/#"], password), *(_device_user(d, passwords[d]) for d in self._devices)],
        )
        self._login = Broker(host, port, f"{_SELF}-{self._session_id}", _SELF, password)

    async def run(self) -> None:
        """Serve the devices until cancelled. Raises LinkError when the broker cannot be started."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._broker.run(), name=f"{self.name}: broker")
                tasks.create_task(self._run_session(), name=f"{self.name}: session")
        except* BrokerError as group:
            raise LinkError(self.name, str(group.exceptions[0])) from group

    async def act(self, thing: str, command: Command, value: "Value") -> "Value":
        """Tell the device, and wait for its result; see edge.links.base.Link."""
        session = self._session
        if session is None:
            raise ActionRefused(thing, "the gateway's broker is not running")
        name = next(name for name, each in self._devices[thing].model.commands.items() if each is command)
        key = secrets.token_hex(8)
        request = Request(key, thing, name, None if isinstance(value, tuple) else value, self._clock() + _RESULT_MS)
        ending: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._results[thing, key] = ending
        try:
            await session.publish(topics.command(topics.DEVICE, thing), encode_request(request), qos=1)
            async with asyncio.timeout(_RESULT_MS / 1000):
                result = await ending
        except MqttError as error:
            raise ActionFailed(thing, f"{error.reason}; it may have been carried out") from error
        except TimeoutError as error:
            raise ActionFailed(thing, "the device has not said how it ended; it may have been carried out") from error
        finally:
            del self._results[thing, key]
        if result.state == DONE:
            return result.value
        raise (ActionFailed if result.state == FAILED else ActionRefused)(thing, result.reason or result.state)

    def committed(self, origins: Sequence[Origin]) -> None:
        """These packs are in the outbox: their devices may be told."""
        self._entrusted.committed(origins)
        self._answer.set()

    async def _run_session(self) -> None:
        await self._broker.ready.wait()
        await keep_session(
            self._login, self._serve, on_down=self._down, on_drop=lambda: self._intake.count("dropped_messages")
        )

    def _down(self, reason: str) -> None:
        self._session = None
        for device in self._devices:
            self._intake.state(device, "offline", f"the gateway's broker: {reason}")

    async def _serve(self, session: Session) -> None:
        self._session = session
        await session.subscribe("d/+/birth")
        await session.subscribe("d/+/result")
        await session.subscribe("d/+/update")
        await session.subscribe("d/+/up/+", qos=0)
        self._entrusted.answer_all()
        self._answer.set()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._receive(session), name=f"{self.name}: receive")
            tasks.create_task(self._send_cursors(session), name=f"{self.name}: cursors")
            tasks.create_task(self._send_updates(session), name=f"{self.name}: updates")

    async def _send_cursors(self, session: Session) -> None:
        while True:
            await self._answer.wait()
            self._answer.clear()
            for device, lane, stored in self._entrusted.answers():
                payload = cursor.encode(self._session_id, stored)
                await session.publish(topics.cursor(topics.DEVICE, device, lane), payload, qos=1, retain=True)

    async def _send_updates(self, session: Session) -> None:
        while True:
            for thing in self._devices:
                offer = self.updates.due(thing, _steady_ms())
                if offer is not None:
                    payload = update.encode_offer(offer)
                    await session.publish(topics.offer(topics.DEVICE, thing), payload, qos=1)
            while self._parts:
                thing, part = self._parts.popitem()
                await session.publish(topics.part(topics.DEVICE, thing), update.encode_part(part))
            for thing, version, text in self.updates.news():
                told = [reading("firmware_version", version, "1", time_ms=self._clock())]
                told += [reading("update", text, "1", time_ms=self._clock())] if text else []
                self._intake.take(thing, told)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S):
                    await self._update_news.wait()
            self._update_news.clear()

    async def _receive(self, session: Session) -> None:
        async for message in session.messages():
            try:
                self._take(message)
            except ProtocolError as error:
                logger.warning("%s: %s: %s", self.name, message.topic, error)
                sender = message.topic.split("/")[1]
                if sender in self._devices:
                    self._intake.count("decode_errors", sender)

    def _take(self, message: Message) -> None:
        topic = topics.parse(message.topic)
        if topic.sender not in self._devices:
            raise ProtocolError("no such device is attached to this link")
        if topic.kind == "birth":
            self._take_birth(topic.sender, message.payload)
        elif topic.kind == "up":
            self._take_pack(topic.sender, topic.lane, message.payload)
        elif topic.kind == "result":
            result = decode_result(message.payload)
            ending = self._results.get((topic.sender, result.key))
            if ending is not None and not ending.done():
                ending.set_result(result)
        elif topic.kind == "update":
            part = self.updates.heard(topic.sender, update.decode_step(message.payload), _steady_ms())
            if part is not None:
                self._parts[topic.sender] = part
            self._update_news.set()

    def _take_birth(self, device: str, payload: bytes) -> None:
        try:
            certificate = json.loads(payload)
            online = certificate.get("state") != "offline"
        except (ValueError, AttributeError, RecursionError) as error:
            raise DecodeError("birth certificate", "is not a JSON object") from error
        self._intake.state(
            device, "online" if online else "offline", "" if online else "the device has left its broker"
        )
        self.updates.born(device, certificate)
        self._update_news.set()

    def _take_pack(self, device: str, lane: str, payload: bytes) -> None:
        if self._intake.full():
            self._intake.count("packs_refused", device)  # it has them on its own flash, and offers them again
            return
        try:
            pack = decode(device, payload, self._clock())
        except senml.BodyError as error:
            # It would be as unreadable each time: refusing it would stop its lane for ever.
            logger.error("%s: %s/%s: given up as lost: %s", self.name, device, lane, error)
            self._intake.count("decode_errors", device)
            pack = senml.DevicePack(error.header, [], None, error.count)
        if skipped := self._entrusted.skipped(device, lane, pack.header):
            logger.error("%s: %s/%s passes over %d packs that never came here", self.name, device, lane, skipped)
            self._intake.count("packs_skipped", device, skipped)

        def take(origin: Origin) -> None:
            if pack.lost:
                self._intake.lose(device, pack.lost, origin, lane=lane)
            else:
                backfill = pack.header.backfill
                self._intake.take(device, pack.readings, lane=lane, origin=origin, backfill=backfill)

        verdict = self._entrusted.offer(device, lane, pack.header, take)
        if verdict != STORE:
            self._intake.count("packs_ahead" if verdict == AHEAD else "packs_repeated", device)
            self._answer.set()


def _steady_ms() -> int:
    return round(asyncio.get_running_loop().time() * 1000)


def _volatile(data: Path) -> Path:
    """The folder for what need not outlast us, as all that the broker keeps: in memory, where systemd gives us one.

    Else every cursor that is retained wears the memory card, and a full disk stops the broker.
    """
    return Path(os.environ.get("RUNTIME_DIRECTORY", data))


def _device_user(device: str, password: str) -> User:
    """A device may touch its own prefix and nothing else."""
    return User(
        device,
        publish=[f"d/{device}/birth", f"d/{device}/up/+", f"d/{device}/result", f"d/{device}/update"],
        subscribe=[f"d/{device}/cursor/+", f"d/{device}/cmd", f"d/{device}/offer", f"d/{device}/part"],
        password=password,
    )
