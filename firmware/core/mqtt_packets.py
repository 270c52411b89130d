"""MQTT 3.1.1 control packets, as far as a device needs them (OASIS standard of 29 October 2014, chapters 2 and 3)."""

import struct

from firmware.errors import MqttError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

CONNACK, PUBLISH, PUBACK, SUBACK, PINGRESP = 2, 3, 4, 9, 13
PINGREQ = b"\xc0\x00"
DISCONNECT = b"\xe0\x00"
LONGEST_LENGTH = 4  # bytes of a remaining length

_REFUSALS = {
    1: "protocol version not accepted",
    2: "client id not accepted",
    3: "broker not available",
    4: "user or password wrong",
    5: "not authorised",
}


def connect(client_id: str, *, will: "tuple[str, bytes] | None" = None, keepalive_s: int) -> bytes:
    """CONNECT with a clean session, without user and password. The will, (topic, payload), is retained and of QoS 1."""
    flags = 0x02
    fields = _text(client_id)
    if will is not None:
        flags |= 0x2C
        fields += _text(will[0]) + struct.pack(">H", len(will[1])) + will[1]
    return _packet(0x10, _text("MQTT") + struct.pack(">BBH", 4, flags, keepalive_s) + fields)


def publish(topic: str, payload: bytes, *, packet_id: int = 0, retain: bool = False, again: bool = False) -> bytes:
    """PUBLISH; QoS 1 if there is a packet id, else QoS 0."""
    first = 0x30 | (0x08 if again else 0) | (0x02 if packet_id else 0) | (0x01 if retain else 0)
    return _packet(first, _text(topic) + (struct.pack(">H", packet_id) if packet_id else b"") + payload)


def puback(packet_id: int) -> bytes:
    """PUBACK."""
    return _packet(0x40, struct.pack(">H", packet_id))


def subscribe(packet_id: int, topics: "Sequence[str]", *, qos: int = 1) -> bytes:
    """SUBSCRIBE."""
    return _packet(0x82, struct.pack(">H", packet_id) + b"".join(_text(topic) + bytes([qos]) for topic in topics))


def check_connack(body: bytes) -> None:
    """Raises MqttError unless the broker has accepted the connection."""
    if len(body) != 2:
        raise MqttError("CONNACK is malformed")
    if body[1]:
        raise MqttError("refused: " + _REFUSALS.get(body[1], f"code {body[1]}"))


def read_publish(first: int, body: bytes) -> "tuple[str, bytes, int]":
    """Topic, payload and packet id (0 for QoS 0) of a PUBLISH. Raises MqttError."""
    qos = first >> 1 & 3
    if qos > 1 or len(body) < 2:
        raise MqttError("PUBLISH is malformed")
    end = 2 + struct.unpack(">H", body[:2])[0]
    start = end + 2 if qos else end
    if len(body) < start:
        raise MqttError("PUBLISH is truncated")
    try:
        topic = body[2:end].decode()
    except UnicodeError as error:
        raise MqttError("PUBLISH has a topic that is not UTF-8") from error
    return topic, body[start:], struct.unpack(">H", body[end:start])[0] if qos else 0


def read_packet_id(body: bytes) -> int:
    """The packet id of a PUBACK or SUBACK. Raises MqttError."""
    if len(body) < 2:
        raise MqttError("an acknowledgement is truncated")
    return int(struct.unpack(">H", body[:2])[0])


def is_refusal(suback: bytes) -> bool:
    """Whether a SUBACK refuses any of the topics."""
    return 0x80 in suback[2:]


def _text(text: str) -> bytes:
    data = text.encode()
    if len(data) > 0xFFFF:
        raise MqttError("a text of more than 65535 bytes")
    return struct.pack(">H", len(data)) + data


def _packet(first: int, body: bytes) -> bytes:
    length = len(body)
    if length >= 1 << 28:
        raise MqttError("a packet of more than 256 MB")
    head = bytearray([first])
    while True:
        length, digit = length >> 7, length & 0x7F
        head.append(digit | (0x80 if length else 0))
        if not length:
            return bytes(head) + body
