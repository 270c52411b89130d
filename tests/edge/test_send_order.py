"""Which pack goes next."""

from edge.uplink.send_order import SendOrder
from protocols.custody import Sender, epoch_number
from protocols.topics import BULK, URGENT

EPOCH = epoch_number(3, 1, 0)


def test_an_urgent_pack_goes_before_bulk_that_was_due_already():
    senders = {lane: Sender() for lane in (URGENT, BULK)}
    order = SendOrder(senders)
    for sender in senders.values():
        sender.open(EPOCH)
        sender.connected()
    for seq in (1, 2, 3):
        senders[BULK].appended(EPOCH, seq)
    gone = [order.next(0)]
    senders[URGENT].appended(EPOCH, 1)
    gone += [order.next(0) for _ in range(4)]
    assert [due and (due[0], due[1].seq) for due in gone] == [(BULK, 1), (URGENT, 1), (BULK, 2), (BULK, 3), None]
    assert order.next_due_ms() == 3000
