"""What a board runs after power-on; with slots.py it is all that lies beside the two slots."""

import os

import machine
import slots

root = os.getcwd().rstrip("/")  # of the flash
try:
    slots.start(root)
except Exception as error:  # noqa: BLE001 - whatever it is, the next start may be of the other slot
    slots.keep(root, error)
finally:
    machine.reset()  # an app that ends, or cannot be imported, has used up one of its tries
