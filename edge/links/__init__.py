"""Links: one module a kind of bus or radio. Each yields readings of the devices on it to the intake."""
