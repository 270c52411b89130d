"""What runs on Kerb's own devices, in MicroPython. Imports protocols only."""

VERSION = "0.1.0"
