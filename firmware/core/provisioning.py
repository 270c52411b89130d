"""Provisioning on the device: who proves to know the label's secret gives it a config, on any of its lines.

The count of failed attempts lies in the storage, for each line by itself: who tries over the air keeps nobody with a
cable away.
"""

import asyncio
import json
import os

import cryptolib

from firmware import VERSION
from firmware.core import config, files, identity
from firmware.core.clock import Clock
from firmware.core.label import IN_VAIN, STAGED, Label
from firmware.errors import ConfigError, LineError
from protocols import provisioning
from protocols.errors import DecodeError
from protocols.provisioning import CLOSED, NONCE_BYTES, REQUEST, SAVE, SEND, content
from protocols.provisioning.content import Description

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Any, Protocol

    class Line(Protocol):
        """What carries messages. `name` is for files; `run` is what must go on meanwhile, if anything.

        The others raise LineError once who spoke there is gone.
        """

        name: str

        async def run(self) -> None: ...
        async def receive(self) -> bytes: ...
        async def send(self, message: bytes) -> None: ...


_ECB = 1
_MOST_FAILED = 255
_LEAVE_S = 0.5  # for the last answer to reach the technician before the device starts anew
_PATIENCE_S = 120  # of a device that has a config and work to do, whose button was held


def finish(directory: str) -> bool:
    """Put what was given to the device in its places, and tell whether there was something.

    What a loss of power has left half done is done by this at the next start: all of it is in one file.
    """
    staged = files.read(directory + STAGED)
    if staged is None:
        return False
    given = content.decode_request(staged)
    if given is not None:
        identity.admit(directory, given.certificate, given.ca)
        files.write(directory + "/" + config.NAME, json.dumps(given.config).encode())
    os.unlink(directory + STAGED)
    return True


class Provisioning:
    """A device that waits to be provisioned. Raises ConfigError if it has no label."""

    def __init__(self, hal: "Any", apps: "Collection[str]"):
        self._apps = apps
        self._clock = Clock(hal)
        self._storage: str = hal.storage()
        self._label = Label(self._storage)
        self._ended = asyncio.Event()

    @property
    def device(self) -> str:
        """Its id."""
        return self._label.device

    async def run(self, *lines: "Line") -> None:
        """Serve these lines until the device was provisioned; not for long if it has a config already."""
        if finish(self._storage):
            return
        identity.public_key(self._storage)  # boards take a second to make one: not while the technician waits
        print("provisioning:", self._label.device, "waits on", ", ".join([line.name for line in lines]))
        serving = [asyncio.create_task(self._serve_to_the_end(line)) for line in lines]
        if files.read(self._storage + "/" + config.NAME) is None:
            await self._ended.wait()
        else:
            await _at_most(_PATIENCE_S, self._ended)
        if not self._ended.is_set():
            print("provisioning: nobody came; the device goes on as it was")
            files.write(self._storage + IN_VAIN, b"")
        await asyncio.sleep(_LEAVE_S)
        for task in serving:
            await _end(task)

    async def _serve_to_the_end(self, line: "Line") -> None:
        try:
            await asyncio.gather(line.run(), self._serve(line))
        finally:
            self._ended.set()

    async def _serve(self, line: "Line") -> None:
        """Serve one line until cancelled."""
        path = self._storage + "/failed-" + line.name
        end = provisioning.Device(
            self._label.device,
            self._label.secret,
            _nonce,
            _encrypt,
            failed=_failed(path),
            now_ms=self._clock.monotonic_ms(),
        )
        while True:
            try:
                message = await line.receive()
                for what, value in end.receive(message, self._clock.monotonic_ms()):
                    if what == SAVE:
                        files.write(path, str(value).encode())
                    elif what == SEND:
                        await line.send(value)
                    elif what == REQUEST:
                        await line.send(end.answer(self._carry_out(value)))
                    elif what == CLOSED:
                        print("provisioning:", line.name + ":", value)
            except LineError as error:
                end.close(str(error))
                print("provisioning:", error)

    def _carry_out(self, body: bytes) -> bytes:
        """Do what a technician asks who has proven himself; the result."""
        try:
            given = content.decode_request(body)
            if given is None:
                key = identity.public_key(self._storage)
                return content.encode_description(Description(self._label.board, VERSION, key))
            wanted = config.Config(given.config)
            if wanted.device != self._label.device:
                raise ConfigError("device", "is not " + self._label.device)
            if wanted.app not in self._apps:
                raise ConfigError("app", "there is no app " + wanted.app)
        except (DecodeError, ConfigError) as error:
            print("provisioning: refused:", error)
            return content.encode_result(str(error))
        try:
            files.write(self._storage + STAGED, body)
            finish(self._storage)
        except OSError as error:
            print("provisioning: not kept:", error)
            return content.encode_result("the device could not keep it: " + str(error))
        print("provisioning: done")
        self._ended.set()
        return content.encode_result()


async def _at_most(seconds: int, event: asyncio.Event) -> None:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except asyncio.TimeoutError:
        pass


async def _end(task: "asyncio.Task[None]") -> None:
    """Cancel a task. One that has failed raises here what it has failed by."""
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        pass


def _failed(path: str) -> int:
    """How many attempts have failed; a file that cannot be read stands for many."""
    data = files.read(path)
    if data is None:
        return 0
    try:
        return int(data)
    except ValueError:
        return _MOST_FAILED


def _nonce() -> bytes:
    return os.urandom(NONCE_BYTES)


def _encrypt(key: bytes, blocks: bytes) -> bytes:
    return bytes(cryptolib.aes(key, _ECB).encrypt(blocks))
