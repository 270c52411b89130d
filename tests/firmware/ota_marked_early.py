"""Runs on MicroPython: the campaign of cuts on a device that puts a slot on trial before it has filled it."""

import json
import sys

from bench.parts.ota_cuts import Campaign
from firmware.boot import slots
from firmware.core.ota import Updates

finish = Updates.finish


def finish_late(self):
    good = slots.load(self._root)["good"]
    slots.save(self._root, {"good": good, "trial": "b" if good == "a" else "a", "tries": slots.TRIES})
    yield from finish(self)


Updates.finish = finish_late
campaign = Campaign(sys.argv[1], 1000)
campaign.run()
print(json.dumps({"unbootable": campaign.unbootable}))
