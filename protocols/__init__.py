"""What two parties must agree on: pure functions and state machines, for CPython and MicroPython alike."""
