"""Runs on MicroPython: draws every page of the dispenser's states on the display's model. Argument: a JSON file.

{"plan": path of a signed plan, "language": ..., "cases": [[name, state, unix_s, remaining], ...], "refusals": [...]}
Prints for each page a line of JSON: case, lines, large, and the display's picture in hex.
"""

import json
import sys

from firmware.apps import doses, screens
from firmware.apps.display import Pen
from firmware.drivers.ssd1309 import Ssd1309
from hardware.sim.shims import machine, simboard
from protocols import medication

_WHERE = {"chip": "ssd1309", "bus": 0, "scl": 9, "sda": 8, "address": 0x3C}


def main(path: str) -> None:
    """Draw them all."""
    with open(path) as file:
        asked = json.load(file)
    with open(asked["plan"], "rb") as signed:
        plan = medication.decode(medication.split(signed.read())[1])
    fields = list(plan)
    fields[5] = asked["language"]
    plan = medication.MedicationPlan(*fields)
    board = simboard.Board({"unique_id": "00", "chips": [_WHERE]}, tick_ms=0)
    simboard.install(board)
    display = Ssd1309(machine.I2C(0, scl=machine.Pin(9), sda=machine.Pin(8)))
    display.start()
    pen = Pen(display.buffer)
    pen.learn(plan.characters, plan.glyphs)
    shown = screens.Screens(plan, medication.schedule_of(plan))
    pages = [("no plan", page) for page in screens.no_plan()]
    for name, changes, unix_s, remaining in asked["cases"]:
        state = doses.new_state(medication.schedule_of(plan), plan.zone, plan.from_s)
        state.update(changes)
        pages += [(name, page) for page in shown.pages(state, unix_s, remaining=remaining)]
    for reason in asked["refusals"]:
        pages += [("refused: " + reason, page) for page in shown.refusal(reason)]
    chip = board.chips[0, 0x3C]
    for name, page in pages:
        pen.draw(page)
        display.show()
        print(json.dumps({"case": name, "lines": page.lines, "large": page.large, "dots": bytes(chip.ram).hex()}))


if __name__ == "__main__":
    main(sys.argv[1])
