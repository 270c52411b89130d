"""What a board runs after power-on; with slots.py it is all that lies beside the two slots."""

import machine
import slots

try:
    slots.start("")
finally:
    machine.reset()  # an app that ends, or cannot be imported, has used up one of its tries
