"""The gateway: links to field devices, an outbox on disk, an uplink to the hub."""
