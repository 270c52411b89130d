"""Alarms: rules as documents, their conditions over event time, and the one timed state machine of them all.

The same code runs on gateway, hub and microcontroller. `read_rules` reads a document; a `Watch` runs its rules for
things, each by a `Machine`.
"""

from .change import (
    ACKNOWLEDGED,
    ACTIVE,
    CLEARED,
    INHIBITED,
    NORMAL,
    OPEN,
    PENDING,
    PRIORITIES,
    SHELVED,
    Change,
    Escalation,
    Identity,
    decode_change,
    encode_change,
)
from .machine import Machine, withdrawn
from .rule import Rule, json_schema, measured, read_rule, read_rules
from .watch import Watch, covers

__all__ = [
    "ACKNOWLEDGED", "ACTIVE", "CLEARED", "INHIBITED", "NORMAL", "OPEN", "PENDING", "PRIORITIES", "SHELVED", "Change",
    "Escalation", "Identity", "Machine", "Rule", "Watch", "covers", "decode_change", "encode_change", "json_schema",
    "measured", "read_rule", "read_rules", "withdrawn",
]  # fmt: skip
