"""How much memory a whole app takes, and whether it keeps to it for a day: on MicroPython, in virtual time."""
