"""The Record Access Control Point of a device with stored records: it reports, counts and deletes them when asked.

MicroPython lets no write be refused, so what the profile refuses by an ATT error (another request under way, no
subscription) is answered by a response instead: "server busy", "not completed".
Source: Bluetooth SIG Pulse Oximeter Service 1.0, section 3.4; Glucose Service 1.0, section 3.4.
"""

import asyncio

from firmware.errors import JournalError
from protocols.gatt import racp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from firmware.core.records import Records

_OPERATORS = {"report": ("all", "first", "last"), "count": ("all", "first", "last"), "delete": ("all",)}
_AT_ONCE = 16  # records that are read before other tasks have their turn


class RecordAccess:
    """`deliver` gives a record to the central, `respond` an answer: both tell whether it was confirmed."""

    def __init__(
        self,
        records: "Records",
        deliver: "Callable[[bytes], Awaitable[bool]]",
        respond: "Callable[[bytes], Awaitable[bool]]",
    ):
        self._records = records
        self._deliver = deliver
        self._respond = respond
        self._wake = asyncio.Event()
        self._request = b""
        self._busy = False
        self._abort = False
        self._refusals: "list[bytes]" = []  # at most one for each request that came meanwhile

    def asked(self, request: bytes) -> None:
        """Take a request that was written."""
        said = racp.problem(request, _OPERATORS)
        opcode = request[0] if request else 0
        if said or (self._busy and not _is_abort(request)):
            self._refusals = self._refusals[-3:] + [racp.response(opcode, said or "server_busy")]
        elif _is_abort(request):
            self._abort = self._busy
            if not self._busy:
                self._refusals.append(racp.response(opcode, "success"))  # nothing runs, as was wished
        else:
            self._request, self._busy = bytes(request), True
        self._wake.set()

    def gone(self) -> None:
        """The central has gone: what it asked for ends with it."""
        self._abort = True
        self._wake.set()

    async def run(self) -> None:
        """Answer for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self._refuse()
            if self._busy:
                self._abort = False
                answer = await self._answer(self._request)
                self._busy = False
                await self._respond(answer)
                await self._refuse()

    async def _refuse(self) -> None:
        while self._refusals:
            await self._respond(self._refusals.pop(0))

    async def _answer(self, request: bytes) -> bytes:
        opcode, operator = racp.OPCODES.name(request[0]), racp.OPERATORS.name(request[1])
        found = self._records.places()
        if operator != "all":
            found = found[:1] if operator == "first" else found[-1:]
        if opcode == "count":
            return racp.count_reply(await self._count(found))
        if not found:
            return racp.response(request[0], "no_records")
        if opcode == "delete":
            self._records.delete_all()
            return racp.response(request[0], "success")
        return await self._report(request[0], found)

    async def _report(self, opcode: int, places: "list[tuple[int, int]]") -> bytes:
        given = 0
        for place in places:
            await self._refuse()
            if self._abort:
                return racp.response(racp.OPCODES.code("abort"), "success")
            record = self._read(place)
            if record is None:
                continue
            if not await self._deliver(record):
                return racp.response(opcode, "not_completed")
            given += 1
        return racp.response(opcode, "success" if given else "no_records")

    async def _count(self, places: "list[tuple[int, int]]") -> int:
        count = 0
        for number, place in enumerate(places):
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)
            count += self._read(place) is not None
        return count

    def _read(self, place: "tuple[int, int]") -> "bytes | None":
        """A record; None for one that has given way, or been damaged, meanwhile."""
        try:
            return self._records.read(place)
        except JournalError as error:
            print("records:", error)
            return None


def _is_abort(request: bytes) -> bool:
    return racp.OPCODES.name(request[0]) == "abort"
