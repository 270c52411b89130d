"""Devices that speak MQTT: the gateway's own broker, and custody of what their journals hold.

The broker speaks TLS only, and knows each device by its certificate (device_authority.py). A device's pack is taken
over in order and once; its cursor is published after our commit, and only then does the device delete its copy.
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
from edge.device_authority import GATEWAY, DeviceAuthority
from edge.errors import ActionFailed, ActionRefused, LinkError
from edge.links.base import Attached, Clock, Intake, Origin, Surroundings
from edge.links.entrusted import Entrusted, decode
from edge.links.plan_files import PlanFiles
from edge.update_images import Images
from edge.updates import Updates
from hardware.catalogue import Command
from protocols import cursor, senml, topics, update
from protocols.command import DONE, FAILED, Request, Result, decode_result, encode_request
from protocols.custody import AHEAD, STORE
from protocols.errors import DecodeError, ProtocolError
from protocols.reading import reading
from runtime.broker import BrokerError, EmbeddedBroker, User
from runtime.certificates import subject
from runtime.mqtt import Broker, Message, MqttError, Session, keep_session
from runtime.tls import client_tls

if TYPE_CHECKING:
    from protocols.reading import Value

logger = logging.getLogger(__name__)

_RESULT_MS = 5000  # within which a device says how a command ended
_LOOK_S = 2.0  # between two looks whether there is an update or a plan to be passed on
_ADMISSIONS_S = 0.5
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # where we ourselves find a broker that listens there


def make_link(declared: config.MqttLink, surroundings: Surroundings) -> "MqttLink":
    """The link as the config declares it. Raises AdmissionError for certificates that cannot be used."""
    made = MqttLink(
        name=declared.name,
        directory=_volatile(surroundings.data) / f"broker-{declared.name}",
        host=declared.host,
        port=declared.port,
        devices=[Attached(device.thing, device.declared, device.address) for device in declared.devices],
        authority=DeviceAuthority(surroundings.data),
        cursors=surroundings.cursors(),
        images=surroundings.images,
        plans=PlanFiles(surroundings.data, [device.thing for device in declared.devices]),
        intake=surroundings.intake,
        clock=surroundings.clock,
    )
    surroundings.on_committed(made.committed)
    surroundings.show_updates(made.updates)
    return made


class MqttLink:
    """The broker for a gateway's MQTT devices, and the receiver of each. `authority` knows who is let in."""

    def __init__(
        self,
        *,
        name: str,
        directory: Path,
        host: str,
        port: int,
        devices: Sequence[Attached],
        authority: DeviceAuthority,
        cursors: Mapping[tuple[str, str], dict[int, int]],
        images: Images,
        plans: PlanFiles,
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
        self._plans = plans
        self._authority = authority
        here = _EVERYWHERE.get(host, host)
        tls = authority.broker([here])
        self._broker = EmbeddedBroker(directory, host=host, port=port, users=[], tls=tls)
        own = authority.gateway()
        login = client_tls(ca=authority.file, certificate=own, key=own)
        self._login = Broker(here, port, f"{GATEWAY}-{self._session_id}", tls=login)

    async def run(self) -> None:
        """Serve the devices until cancelled. Raises LinkError when the broker cannot be started."""
        version = self._authority.version()  # before they are read: what changes in between is seen as a change
        self._admit()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._broker.run(), name=f"{self.name}: broker")
                tasks.create_task(self._follow_admissions(version), name=f"{self.name}: admissions")
                tasks.create_task(self._run_session(), name=f"{self.name}: session")
        except* BrokerError as group:
            raise LinkError(self.name, str(group.exceptions[0])) from group

    def _admit(self) -> None:
        """Let in the devices of this link that are admitted, and ourselves. Raises AdmissionError."""
        serials = self._authority.serials()
        for device in self._devices.keys() - serials.keys():
            logger.warning("%s: %s is not admitted yet; see `kerb edge admit`", self.name, device)
        devices = [_device_user(each, serials[each]) for each in self._devices if each in serials]
        self._broker.set_users([User(subject(GATEWAY), ["d/#"], ["d/#"]), *devices])

    async def _follow_admissions(self, seen: int) -> None:
        """A device that is admitted or revoked meanwhile is let in or thrown out at once."""
        while True:
            await asyncio.sleep(_ADMISSIONS_S)
            if (now := self._authority.version()) != seen:
                seen = now
                self._admit()

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
        self._session_id = secrets.token_hex(4)  # devices send again at once what no session of ours has heard
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
            tasks.create_task(self._send_plans(session), name=f"{self.name}: plans")

    async def _send_cursors(self, session: Session) -> None:
        while True:
            await self._answer.wait()
            self._answer.clear()
            for device, lane, stored in self._entrusted.answers():
                payload = cursor.encode(self._session_id, stored)
                await session.publish(topics.cursor(topics.DEVICE, device, lane), payload, qos=1, retain=True)

    async def _send_plans(self, session: Session) -> None:
        self._plans.forget()
        while True:
            for thing, plan in self._plans.news():
                await session.publish(topics.plan(topics.DEVICE, thing), plan, qos=1, retain=True)
            await asyncio.sleep(_LOOK_S)

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


def _device_user(device: str, serial: str) -> User:
    """A device may touch its own prefix and nothing else."""
    return User(
        subject(device, serial),
        publish=[f"d/{device}/birth", f"d/{device}/up/+", f"d/{device}/result", f"d/{device}/update"],
        subscribe=[
            f"d/{device}/cursor/+",
            f"d/{device}/cmd",
            f"d/{device}/offer",
            f"d/{device}/part",
            f"d/{device}/plan",
        ],
    )
