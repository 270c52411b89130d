"""The power goes: an outbox at work under a tracer, and the disks that may be left of it."""
