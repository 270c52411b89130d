"""Simulated Bluetooth: health devices on virtual radios, and the gateway's dongle as HCI on a TCP port.

python -m hardware.sim.ble --hci-port 9999 [--boards-port 9998] [--cuff ADDRESS] [--oximeter ADDRESS] [--period S]

The gateway opens it as the adapter "hci:tcp-client:127.0.0.1:9999"; simulated boards have their radio at
KERB_RADIO=127.0.0.1:9998.
"""

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple, cast

from bumble import hci, ll
from bumble.controller import Connection, Controller
from bumble.core import InvalidArgumentError, InvalidPacketError
from bumble.link import LocalLink
from bumble.transport.common import PacketParser

from hardware.catalogue import catalogue
from hardware.sim.ble_devices import Cuff, Oximeter
from hardware.sim.ble_peripherals import Peripheral, Setting
from hardware.sim.ble_stack import open_boards

log = logging.getLogger(__name__)

ESTABLISHED_S = 0.2  # six connection intervals
MOST_UNSENT = 1 << 20  # bytes for a host that does not read; it is cut off then


class Demo(NamedTuple):
    """A device of the demo: how its model behaves, its static address, and how often it measures."""

    kind: type[Peripheral]
    address: str
    period_s: float


DEMO = {
    "and-ua-651ble": Demo(Cuff, "C0:5E:18:10:65:1B", 8.0),
    "nonin-3230": Demo(Oximeter, "C0:5E:18:22:32:30", 1.0),
}


class Dongle(Controller):
    """The gateway's virtual controller, with what bumble's leaves out: a reset that resets, a cancel that cancels, a
    filter accept list, and scan responses (bumble's repeats the advertisement)."""

    accepted: frozenset[hci.Address] = frozenset()

    def send_hci_packet(self, packet: hci.HCI_Packet) -> None:
        """Core specification, volume 6, part B, 4.4.3.2: who is asked by an active scan answers with his scan data."""
        if isinstance(packet, hci.HCI_LE_Advertising_Report_Event | hci.HCI_LE_Extended_Advertising_Report_Event):
            for report in packet.reports:
                if _answers_a_scan(report):
                    peer = self.link.find_le_controller(report.address) if self.link else None
                    report.data = _scan_data(peer) if peer else b""
        super().send_hci_packet(packet)

    def reset(self) -> None:
        """Forget the host: connections end as if it had gone out of range."""
        self.le_scan_enable = False
        self.accepted = frozenset()
        self.pending_le_connection = None
        for connection in self.le_connections.values():
            with suppress(InvalidArgumentError):  # the peer has left the link altogether
                connection.send_ll_control_pdu(ll.TerminateInd(hci.HCI_ErrorCode.CONNECTION_TIMEOUT_ERROR))
        self.le_connections.clear()

    def on_hci_reset_command(self, _command: hci.HCI_Reset_Command) -> hci.HCI_StatusReturnParameters:
        """Core specification, volume 4, part E, 7.3.2."""
        self.reset()
        return hci.HCI_StatusReturnParameters(hci.HCI_ErrorCode.SUCCESS)

    def on_hci_le_clear_filter_accept_list_command(
        self, _command: hci.HCI_LE_Clear_Filter_Accept_List_Command
    ) -> hci.HCI_StatusReturnParameters:
        """Core specification, volume 4, part E, 7.8.15."""
        return self._accept(frozenset())

    def on_hci_le_add_device_to_filter_accept_list_command(
        self, command: hci.HCI_LE_Add_Device_To_Filter_Accept_List_Command
    ) -> hci.HCI_StatusReturnParameters:
        """7.8.16."""
        if len(self.accepted) >= self.filter_accept_list_size:
            return hci.HCI_StatusReturnParameters(hci.HCI_ErrorCode.MEMORY_CAPACITY_EXCEEDED_ERROR)
        return self._accept(self.accepted | {command.address})

    def on_hci_le_remove_device_from_filter_accept_list_command(
        self, command: hci.HCI_LE_Remove_Device_From_Filter_Accept_List_Command
    ) -> hci.HCI_StatusReturnParameters:
        """7.8.17."""
        return self._accept(self.accepted - {command.address})

    def _accept(self, addresses: frozenset[hci.Address]) -> hci.HCI_StatusReturnParameters:
        if self.pending_le_connection and self.pending_le_connection.initiator_filter_policy:
            return hci.HCI_StatusReturnParameters(hci.HCI_ErrorCode.COMMAND_DISALLOWED_ERROR)
        self.accepted = addresses
        return hci.HCI_StatusReturnParameters(hci.HCI_ErrorCode.SUCCESS)

    def on_advertising_pdu(self, pdu: ll.AdvInd | ll.AdvExtInd) -> None:
        """With a filter policy, who advertises and is on the list is the peer of the connection that is wanted."""
        pending = self.pending_le_connection
        if pending and pending.initiator_filter_policy:
            wanted = pdu.advertiser_address in self.accepted and pdu.advertiser_address not in self.le_connections
            pending.peer_address = pdu.advertiser_address if wanted else hci.Address.ANY
        super().on_advertising_pdu(pdu)

    def create_le_connection(self, peer_address: hci.Address) -> None:
        """Volume 6, part B, 4.5.2: a connection whose peer is not there within six intervals was never established."""
        super().create_le_connection(peer_address)
        if connection := self.le_connections.get(peer_address):
            asyncio.get_running_loop().call_later(ESTABLISHED_S, self._must_be_there, connection)

    def _must_be_there(self, connection: Connection) -> None:
        if self.link is None or self.le_connections.get(connection.peer_address) is not connection:
            return
        peer = self.link.find_le_controller(connection.peer_address)
        if peer is None or self.random_address not in peer.le_connections:
            self.on_le_disconnected(connection, hci.HCI_ErrorCode.CONNECTION_FAILED_TO_BE_ESTABLISHED_ERROR)

    def on_hci_le_create_connection_cancel_command(
        self, _command: hci.HCI_LE_Create_Connection_Cancel_Command
    ) -> hci.HCI_StatusReturnParameters:
        """Core specification, volume 4, part E, 7.8.13: the connection complete event follows, with an error."""
        pending, self.pending_le_connection = self.pending_le_connection, None
        if pending is None:
            return hci.HCI_StatusReturnParameters(hci.HCI_ErrorCode.COMMAND_DISALLOWED_ERROR)
        cancelled = hci.HCI_LE_Connection_Complete_Event(
            status=hci.HCI_ErrorCode.UNKNOWN_CONNECTION_IDENTIFIER_ERROR,
            connection_handle=0,
            role=hci.Role.CENTRAL,
            peer_address_type=pending.peer_address.address_type,
            peer_address=pending.peer_address,
            connection_interval=0,
            peripheral_latency=0,
            supervision_timeout=0,
            central_clock_accuracy=0,
        )
        asyncio.get_running_loop().call_soon(self.send_hci_packet, cancelled)
        return hci.HCI_StatusReturnParameters(hci.HCI_ErrorCode.SUCCESS)


def _scan_data(peer: Controller) -> bytes:
    for advertising in peer.advertising_sets.values():
        if advertising.enabled:
            return bytes(advertising.scan_response_data)
    return bytes(peer.le_legacy_advertiser.scan_response_data)


def _answers_a_scan(
    report: hci.HCI_LE_Advertising_Report_Event.Report | hci.HCI_LE_Extended_Advertising_Report_Event.Report,
) -> bool:
    if isinstance(report, hci.HCI_LE_Advertising_Report_Event.Report):
        return report.event_type == hci.HCI_LE_Advertising_Report_Event.EventType.SCAN_RSP
    return bool(report.event_type & hci.HCI_LE_Extended_Advertising_Report_Event.EventType.SCAN_RESPONSE)


class HciHost(asyncio.Protocol):
    """A host's TCP connection to the dongle. There is one at a time, the newest; the dongle is reset when it goes."""

    def __init__(self, dongle: Dongle):
        self._dongle = dongle
        self._parser = PacketParser(dongle)
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the dongle over."""
        self._transport = cast(asyncio.Transport, transport)
        if isinstance(self._dongle.host, HciHost):
            self._dongle.host.cut()
        self._dongle.host = self

    def data_received(self, data: bytes) -> None:
        """Commands and data for the controller."""
        if self._dongle.host is not self:
            return
        try:
            self._parser.feed_data(data)
        except InvalidPacketError as error:
            log.warning("the host's HCI stream is broken: %s", error)
            self.cut()

    def connection_lost(self, _error: Exception | None) -> None:
        """Leave the dongle reset, unless another host has it by now."""
        if self._dongle.host is self:
            self._dongle.host = None
            self._dongle.reset()

    def on_packet(self, packet: bytes) -> None:
        """Events and data from the controller."""
        self._transport.write(packet)
        if self._transport.get_write_buffer_size() > MOST_UNSENT:
            self.cut()

    def cut(self) -> None:
        """End the connection at once."""
        self._transport.abort()


async def open_dongle(link: LocalLink, port: int) -> asyncio.Server:
    """Serve a dongle on 127.0.0.1:port (0: any free port)."""
    dongle = Dongle("gateway", link=link)
    return await asyncio.get_running_loop().create_server(lambda: HciHost(dongle), "127.0.0.1", port)


async def simulate(port: int, boards_port: int, devices: dict[str, Demo]) -> None:
    """Run the dongle, the boards' radios and the devices until cancelled; prints a line when ready."""
    link = LocalLink()  # type: ignore[no-untyped-call]
    async with (
        await open_dongle(link, port) as server,
        await open_boards(link, boards_port) as boards,
        asyncio.TaskGroup() as group,
    ):
        for name, demo in devices.items():
            setting = Setting(link, demo.address, demo.period_s)
            group.create_task(demo.kind(catalogue()[name], setting).run(), name=name)
        bound, for_boards = (each.sockets[0].getsockname()[1] for each in (server, boards))
        places = ", ".join(f"{name} {demo.address}" for name, demo in devices.items())
        print(f"ready: HCI on 127.0.0.1:{bound}; boards on 127.0.0.1:{for_boards}; {places}", flush=True)


def parse(arguments: Sequence[str]) -> tuple[int, int, dict[str, Demo]]:
    """The two ports, and the devices as the command line wants them."""
    cuff, oximeter = DEMO["and-ua-651ble"], DEMO["nonin-3230"]
    parser = argparse.ArgumentParser(prog="python -m hardware.sim.ble", description="simulated Bluetooth devices")
    add = parser.add_argument
    add("--hci-port", type=int, required=True, metavar="PORT", help="where the gateway's dongle listens; 0: any")
    add("--boards-port", type=int, default=0, metavar="PORT", help="where simulated boards have their radio; 0: any")
    add("--cuff", type=_address, default=cuff.address, metavar="ADDRESS", help="default: %(default)s")
    add("--oximeter", type=_address, default=oximeter.address, metavar="ADDRESS", help="default: %(default)s")
    add("--period", type=float, default=cuff.period_s, metavar="S", help="seconds between the cuff's measurements")
    options = parser.parse_args(arguments)
    devices = {
        "and-ua-651ble": cuff._replace(address=options.cuff, period_s=options.period),
        "nonin-3230": oximeter._replace(address=options.oximeter),
    }
    return options.hci_port, options.boards_port, devices


def _address(text: str) -> str:
    try:
        address = hci.Address(text, hci.Address.RANDOM_DEVICE_ADDRESS)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text} is no Bluetooth address") from error
    if not address.is_static:
        raise argparse.ArgumentTypeError(f"{text} is no static random address: those begin with C, D, E or F")
    return str(address)


async def _until_stopped(port: int, boards_port: int, devices: dict[str, Demo]) -> None:
    task = asyncio.current_task()
    assert task
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    await simulate(port, boards_port, devices)


def main() -> int:
    """The exit code: 0 when stopped by a signal, 2 when the port cannot be had."""
    port, boards_port, devices = parse(sys.argv[1:])
    try:
        asyncio.run(_until_stopped(port, boards_port, devices))
    except asyncio.CancelledError:
        return 0
    except OSError as error:
        print(f"the HCI port {port} cannot be opened: {error.strerror}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
