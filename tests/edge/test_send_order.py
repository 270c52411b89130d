"""Which pack goes next."""

from edge.uplink.send_order import SendOrder
from protocols.custody import Sender, epoch_number
from protocols.topics import BULK, URGENT

EPOCHS = [epoch_number(3, count, 0) for count in (1, 2)]
EPOCH = EPOCHS[0]


def lanes() -> dict[str, Sender]:
    senders = {lane: Sender() for lane in (URGENT, BULK)}
    for sender in senders.values():
        sender.open(EPOCH)
        sender.connected()
    return senders


def test_an_urgent_pack_goes_before_bulk_that_was_due_already():
    senders = lanes()
    order = SendOrder(senders)
    for seq in (1, 2, 3):
        senders[BULK].appended(EPOCH, seq)
    gone = [order.next(0)]
    senders[URGENT].appended(EPOCH, 1)
    gone += [order.next(0) for _ in range(4)]
    assert [due and (due[0], due[1].seq) for due in gone] == [(BULK, 1), (URGENT, 1), (BULK, 2), (BULK, 3), None]
    assert order.next_due_ms() == 3000


def test_what_is_at_hand_passes_what_the_disk_is_reading_but_not_within_an_epoch():
    senders = lanes()
    order = SendOrder(senders)
    for seq in (1, 2):
        senders[BULK].appended(EPOCHS[0], seq)
    senders[BULK].open(EPOCHS[1])
    senders[BULK].appended(EPOCHS[1], 1)
    on_disk = {(EPOCHS[0], 1)}

    def sent(busy: bool) -> tuple[int, int] | None:
        due = order.next(0, (lambda _, header: (header.epoch, header.seq) not in on_disk) if busy else None)
        return due and (EPOCHS.index(due[1].epoch) + 1, due[1].seq)

    assert [sent(True), sent(True)] == [(2, 1), None]
    senders[BULK].appended(EPOCHS[1], 2)
    assert [sent(True), sent(True)] == [(2, 2), None]
    assert [sent(False), sent(False), sent(False)] == [(1, 1), (1, 2), None]


def test_what_was_due_is_void_when_the_sender_goes_back():
    """It begins with fewer then, and some may have given way to one gap record."""
    senders = lanes()
    order = SendOrder(senders)
    for seq in range(1, 65):
        senders[BULK].appended(EPOCH, seq)
    first = order.next(0)
    senders[BULK].merged(EPOCH, 1, 20)
    again = []
    while due := order.next(3000):
        again.append(due[1])
    assert first is not None
    assert (first[1].seq, [(header.first, header.seq) for header in again[:3]]) == (1, [(1, 20), (21, 21), (22, 22)])
    assert len(again) < 63
    assert [header.seq for header in again] == sorted({header.seq for header in again})
