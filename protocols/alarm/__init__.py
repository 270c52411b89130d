"""Alarms: rules as documents, their conditions over event time, and the one timed state machine of them all.

The same code runs on gateway, hub and microcontroller. `read_rules` reads a document; a `Watch` runs its rules for
things, each by a `Machine`.
"""

from .change import (
    ACKNOWLEDGED,
    ACTIVE,
    CLEARED,
    INHIBITED,
    METRIC,
    NORMAL,
    OPEN,
    PENDING,
    PRIORITIES,
    SHELVED,
    Change,
    Escalation,
    Identity,
    decode_following,
    encode_following,
)
from .machine import Machine, withdrawn
from .rule import GATEWAY, HUB, Rule, json_schema, measured, read_rule, read_rules
from .watch import Watch, covers

__all__ = [
    "ACKNOWLEDGED", "ACTIVE", "CLEARED", "GATEWAY", "HUB", "INHIBITED", "METRIC", "NORMAL", "OPEN", "PENDING",
    "PRIORITIES", "SHELVED", "Change", "Escalation", "Identity", "Machine", "Rule", "Watch", "covers",
    "decode_following", "encode_following", "json_schema", "measured", "read_rule", "read_rules", "withdrawn",
]  # fmt: skip
