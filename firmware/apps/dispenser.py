"""The dispenser: follows a signed medication plan, dispenses when somebody asks for a dose that is due, and says so."""

import asyncio

from firmware.apps import doses
from firmware.apps.cabinet import HELD, PRESSED, Cabinet
from firmware.apps.dispensing import Dispensing, first_state
from firmware.apps.display import Pen
from firmware.apps.plans import Plans
from firmware.apps.screens import Screens, local_text, no_plan
from firmware.core import files
from firmware.core.device import Device
from firmware.drivers import ds3231, ssd1309
from firmware.errors import ConfigError, DriverError, MqttError, PlanError
from protocols import medication, topics
from protocols.command import DONE, EXPIRED, REFUSED, Request, Result, decode_request, encode_result
from protocols.errors import DecodeError
from protocols.reading import reading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from firmware.apps.screens import Page
    from firmware.core.config import Config
    from firmware.hal import Port

MODEL = "kerb-dispenser"
# Of the settings: the pharmacy's public key, in hex, and the number of the cartridge that it was delivered with.
PLAN_KEY, CARTRIDGE = "plan_key", "cartridge"
EVENTS = (  # by their codes in the device's file, from 1 on
    doses.DISPENSED, doses.TAKEN, doses.MISSED, doses.REMOVED_LATE, doses.UNSURE, doses.JAMMED, doses.EMPTY,
    doses.REFILLED, doses.TIME_LOST,
)  # fmt: skip
_STATE = "/doses"
_LOOK_S, _TICK_S, _PAGE_S = 0.05, 1, 3
_STATUS_TICKS = 60
_MOST_WAITING = 4  # commands; a gateway has one under way at a time
_MOST_KNOWN = 16  # results of commands that are kept, in case one is told twice


class Dispenser:
    """The app. Its core is there once there are a plan and, for the first one, a clock."""

    def __init__(self, device: "Device"):
        self._device = device
        config, hal = device.config, device.hal
        self._directory = hal.storage()
        key = config.settings.get(PLAN_KEY)
        if not isinstance(key, str):
            raise ConfigError("settings." + PLAN_KEY, "is missing; it is what kerb plan key has written to FILE.pub")
        self._plans = Plans(self._directory, device=config.device, key=bytes.fromhex(key))
        self._clock = ds3231.Ds3231(self._bus(ds3231.CHIP), address=config.chip(ds3231.CHIP)["address"])
        where = config.chip(ssd1309.CHIP)["address"]
        self._display = ssd1309.Ssd1309(self._bus(ssd1309.CHIP), address=where)
        self._pen = Pen(self._display.buffer)
        self._cabinet = Cabinet(config, hal)
        self._core: "Dispensing | None" = None
        self._screens: "Screens | None" = None
        self._flash: "list[Page]" = []  # shown once, in place of the state's pages
        self._offered: "bytes | None" = None  # the newest plan that came, until it is looked at
        self._came = asyncio.Event()
        self._commands: "list[Request]" = []
        self._told = asyncio.Event()
        self._results: "list[Result]" = []
        device.listen(topics.plan(topics.DEVICE, config.device), self._offer)
        device.listen(topics.command(topics.DEVICE, config.device), self._command)

    async def run(self) -> None:
        """Until one of the tasks fails; then the device starts anew."""
        self._begin(self._now())
        await self._device.run(
            self._look(), self._pass_time(), self._show(), self._take_plans(), self._obey(),
            self._cabinet.run(self._dropped, self._stopped), self._cabinet.buzz(), figures=self._figures,
        )  # fmt: skip

    def _bus(self, chip: str) -> "Any":
        bus = self._device.config.bus(self._device.config.chip(chip)["bus"])
        return self._device.hal.i2c(bus["bus"], bus["scl"], bus["sda"], bus["freq_hz"])

    def _figures(self) -> str:
        return f", plan {self._plans.current.version if self._plans.current else 0}"

    # --- the core ---

    def _begin(self, unix_s: "int | None") -> None:
        """Make the core as soon as it can be."""
        plan = self._plans.current
        saved = files.read(self._directory + _STATE)
        if plan is None or (saved is None and unix_s is None):
            return
        timetable = medication.schedule_of(plan)
        state = saved or first_state(timetable, plan.zone, unix_s or 0)
        self._core = Dispensing(timetable, state, save=self._save, record=self._record, cabinet=self._cabinet)
        self._screens = Screens(plan, timetable)
        self._pen.learn(plan.characters, plan.glyphs)
        self._core.start()
        delivered = self._device.config.settings.get(CARTRIDGE)
        if saved is None and isinstance(delivered, int):
            self._core.refill(delivered, plan.doses)

    def _save(self, state: bytes) -> None:
        files.write(self._directory + _STATE, state)

    def _record(self, report: "dict[str, Any]") -> None:
        """A report of the machine's for the journal. Raises JournalError."""
        readings = [reading("event", EVENTS.index(report["event"]) + 1, "1")]
        if report["dose"] is not None:
            readings.append(reading("dose", local_text(report["dose"]), "1"))
        if report["last"] != report["dose"]:
            readings.append(reading("last_dose", local_text(report["last"]), "1"))
        self._device.keep(readings + self._status(), lane=topics.URGENT)
        print("dispenser:", report["event"], local_text(report["dose"]) if report["dose"] is not None else "")

    def _status(self) -> "list[Any]":
        if self._core is None:
            return []
        remaining = self._core.machine.remaining()
        told = [reading("attention", self._core.machine.state["level"], "1")]
        return told if remaining is None else told + [reading("remaining", remaining, "1")]

    def _dropped(self) -> None:
        if self._core is not None:
            self._core.dropped()

    def _stopped(self) -> None:
        if self._core is not None:
            self._core.stopped()

    # --- time ---

    def _now(self) -> "int | None":
        """Unix seconds by the clock that runs on without power; one that has stood still is set as the board's is."""
        try:
            unix_s = self._clock.read()
            unix_ms = self._device.clock.unix_ms()
            if unix_s is None and unix_ms is not None:
                unix_s = unix_ms // 1000
                self._clock.set(unix_s)
            return unix_s
        except DriverError as error:
            print("dispenser:", error)
            return None

    async def _pass_time(self) -> None:
        alive = self._device.watch("time")
        ticks = 0
        while True:
            alive()
            now_s = self._now()
            if self._core is None:
                self._begin(now_s)
            else:
                self._catch_up()
                self._core.tick(now_s)
                if self._core.unrecorded:
                    print("dispenser: reports wait:", self._core.unrecorded)
            if ticks % _STATUS_TICKS == 0 and self._core is not None:
                self._device.publish(self._status())
            ticks += 1
            await asyncio.sleep(_TICK_S)

    def _catch_up(self) -> None:
        """Power has failed between the state and the plan that it follows: the plan that was kept is the one."""
        plan, core = self._plans.current, self._core
        if plan is not None and core is not None and core.machine.state["version"] != plan.version:
            core.change(medication.schedule_of(plan), plan.zone)

    # --- people ---

    async def _look(self) -> None:
        alive = self._device.watch("inputs")
        while True:
            alive()
            button = self._cabinet.look()
            if self._core is not None:
                self._core.look()
                if button:
                    self._press(self._core, button)
            await asyncio.sleep(_LOOK_S)

    def _press(self, core: "Dispensing", button: str) -> None:
        """One button: it asks for the dose, and answers the question that there is. The bold answer takes longer."""
        if core.machine.state["phase"] in (doses.UNSURE, doses.JAMMED):
            core.answer(button == PRESSED)
        elif button != HELD:
            core.button()
            if core.refused and self._screens is not None:
                self._flash = self._screens.refusal(core.refused)

    def _pages(self) -> "list[Page]":
        if self._core is None or self._screens is None:
            return no_plan()
        machine = self._core.machine
        return self._screens.pages(machine.state, self._now(), remaining=machine.remaining())

    async def _show(self) -> None:
        """The pages of what is, one after the other; at once when that changes. Without a display all else goes on."""
        alive = self._device.watch("display")
        working = False
        shown: "list[Page]" = []
        place, since_ms = 0, 0
        while True:
            alive()
            now_ms = self._device.clock.monotonic_ms()
            flashed, self._flash = self._flash, []
            pages = flashed or (shown if now_ms < since_ms else self._pages())
            if pages != shown:
                shown, place, since_ms = pages, 0, now_ms + 1000 * _PAGE_S if flashed else now_ms
            elif now_ms - since_ms >= 1000 * _PAGE_S:
                place, since_ms = (place + 1) % len(shown), now_ms
            self._pen.draw(shown[place])
            try:
                if not working:
                    self._display.start()
                self._display.show()
                working = True
            except DriverError as error:
                if working:
                    print("dispenser:", error)
                working = False
            await asyncio.sleep(_TICK_S / 4)

    # --- the gateway ---

    def _offer(self, payload: bytes) -> None:
        self._offered = payload
        self._came.set()

    async def _take_plans(self) -> None:
        """Verify the newest plan that came, step by step, and follow it."""
        while True:
            await self._came.wait()
            self._came.clear()
            data, self._offered = self._offered, None
            if data is None:
                continue
            try:
                plan = None
                checking = self._plans.verify(data, self._now())
                while plan is None:
                    try:
                        next(checking)
                        await asyncio.sleep(0)
                    except StopIteration as end:
                        plan = end.value
                self._follow(plan, data)
                told = f"follows {plan.version}"
            except PlanError as error:
                told = f"refused: {error.reason}"
            print("dispenser: plan", told)
            self._device.publish([reading("plan", told, "1")])

    def _follow(self, plan: "medication.MedicationPlan", data: bytes) -> None:
        """The state first, then the plan: what power leaves of that is seen by the versions, and mended."""
        timetable = medication.schedule_of(plan)
        if self._core is not None:
            self._core.tick(self._now())
            self._core.change(timetable, plan.zone)
            if self._core.refused:
                raise PlanError(self._core.refused)
        self._plans.keep(plan, data)
        if self._core is None:
            self._begin(self._now())
        self._screens = Screens(plan, timetable)
        self._pen.learn(plan.characters, plan.glyphs)

    def _command(self, payload: bytes) -> None:
        try:
            request = decode_request(payload)
        except DecodeError as error:
            print("dispenser:", error)
            return
        if len(self._commands) < _MOST_WAITING:  # more than that is none of a gateway's that waits for results
            self._commands.append(request)
            self._told.set()

    async def _obey(self) -> None:
        """Commands; there is none that turns the wheel."""
        while True:
            await self._told.wait()
            self._told.clear()
            while self._commands:
                result = self._answer_to(self._commands.pop(0))
                try:
                    await self._device.send(
                        topics.result(topics.DEVICE, self._device.config.device), encode_result(result)
                    )
                except MqttError as error:
                    print("dispenser: a result was not told:", error)  # it is asked for again with the same key

    def _answer_to(self, request: "Request") -> "Result":
        for known in self._results:
            if known.key == request.key:
                return known
        now_s = self._now() or 0
        if now_s and now_s * 1000 >= request.expires_ms:
            state, reason = EXPIRED, "too late"
        else:
            reason = self._do(request.command, request.value)
            state = REFUSED if reason else DONE
        result = Result(request.key, state, reason, None, now_s * 1000)
        self._results = self._results[-_MOST_KNOWN:] + [result]
        return result

    def _do(self, command: str, value: "Any") -> str:
        """Why the command is refused; empty if it is done."""
        core, plan = self._core, self._plans.current
        if not isinstance(value, int):
            return "its value is no whole number"
        if command == "unlock":
            self._cabinet.unlock()
            return ""
        if core is None or plan is None:
            return "there is no plan"
        core.refused = ""
        if command == "refill":
            core.refill(value, plan.doses)
        elif command == "answer":
            core.answer(bool(value))
        elif command == "set_clock":
            self._clock.set(value)
            core.trust(value)
        else:
            return "there is no such command"
        return core.refused


def run(config: "Config", hal: "Port") -> None:
    """Run the app; ends only with an error."""
    asyncio.run(Dispenser(Device(config, hal, model=MODEL)).run())
