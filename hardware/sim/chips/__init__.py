"""Register-level models of chips. They run on MicroPython beside the firmware and on CPython in tests."""
