"""Where `kerb edge provision` finds the device and what to tell it. Apart from what does it, which takes a second."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command, behind the gateway's config."""
    add = parser.add_argument
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--serial", metavar="PORT", help="the port of the device's console")
    where.add_argument("--ble", metavar="ADAPTER", help="bluez, or hci: and a transport; the device is found by its id")
    add("--label-file", type=Path, metavar="FILE", help="what the label's QR code says (default: ask, for a scanner)")
    add("--host", help="where devices reach this gateway (default: where its broker listens)")
    add("--wifi", metavar="SSID", help="the network that the device shall use")
    add("--wifi-password-file", type=Path, metavar="FILE")
    add("--settings", type=Path, metavar="FILE", help="JSON: what the device's app lets one set")
