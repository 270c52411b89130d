"""A deterministic simulator: device, gateway and hub as they are, on a virtual clock, network and disks.

Everything that happens is drawn from one seed, so a seed replays exactly. What is real and what is virtual:

world       the clock, and nodes that can lose power between any two actions
network     lines that lose, repeat, delay and reorder; brokers with retained messages
disk        SQLite in memory, and NOR flash: torn, forgotten, full, restored from an old image
device      the firmware's journal and handover, on the virtual flash
gateway     the gateway's pipeline, outbox, uplink and commands, on virtual disks
hub         the hub's intake, on a store that is a model of the real one
ledger      what must hold at every step
plan        what a seed draws: the load, the faults
run         one seed, its verdict; shrink makes a short plan of one that fails
"""
