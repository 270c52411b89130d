"""Runs tests/vectors/*.json on CPython and MicroPython alike: `micropython tests/vectors/run.py` from the root.

A file holds {"codec": name, "vectors": [...]}. A vector has `name`, `source`, `input` (for the codec's decode), `args`
if the codec wants any, and either `expect` or `error`, the name of the exception's class. In a valid vector
- `expect` encodes back to `input`, unless `encodes` says to what else, or is false: the form is never written;
- every shorter input raises a DecodeError, unless `valid_prefixes` lists the lengths (in bytes, registers or
  characters) that are whole, or is true: any length is.
Readings are [metric, value, unit], then the quality's name unless good, then time_ms if there is one. A DecimalFraction
is {"mantissa": m, "exponent": e}.

To add a codec: one entry in CODECS, and a file. Prints a line for each failure and at last the counts; the exit code
is 1 if there was a failure.
"""

# MicroPython has no pathlib.
# ruff: noqa: PTH123, PTH208

import json
import os
import sys
from collections import namedtuple

from protocols import (
    alarm,
    bthome,
    cbor,
    cursor,
    gatt,
    hmac_sha256,
    ieee11073,
    lms,
    modbus,
    nmea,
    pack,
    provisioning,
    refusal,
    senml,
    status,
    tally,
)
from protocols.custody import Header, Receiver, Sender
from protocols.errors import ChecksumError, DecodeError, ProtocolError
from protocols.gatt import cgm, units
from protocols.reading import GOOD, QUALITY_NAMES, DecimalFraction, Reading, quality_name, reading

try:
    from cryptolib import aes

    def encrypt_blocks(key, blocks):
        """AES, each block by itself."""
        return aes(key, 1).encrypt(blocks)

except ImportError:
    from runtime.aes import encrypt_blocks

# decode(input, args) -> value; encode(value, args) -> input, or None; step: characters of input that a cut takes, or 0
Codec = namedtuple("Codec", ("decode", "encode", "step"))


def _gatt_decode(text, args):
    return gatt.decode(int(args["uuid"], 16), bytes.fromhex(text), crc=args.get("crc", False))


def _gatt_encode(readings, args):
    return gatt.encode(int(args["uuid"], 16), readings, crc=args.get("crc", False)).hex()


def _bthome_decode(text, args):
    """`opens`: what each "device information/counter/sealed objects and check" is in plain, as the cipher would say."""

    def unseal(info, counter, sealed):
        plain_text = args["opens"].get("/".join([info.hex(), counter.hex(), sealed.hex()]))
        if plain_text is None:
            raise ChecksumError(bthome.SUBJECT, "was not sealed with this key")
        return bytes.fromhex(plain_text)

    return bthome.decode(bytes.fromhex(text), unseal if "opens" in args else None)


def _lms_verify(text, args):
    lms.verify(bytes.fromhex(args["key"]), bytes.fromhex(args["message"]), bytes.fromhex(text))
    return "valid"


def _hkdf(text, args):
    key = hmac_sha256.extract(bytes.fromhex(args["salt"]), bytes.fromhex(text))
    return hmac_sha256.expand(key, bytes.fromhex(args["info"]), args["size"])


def _provisioning(bodies, args):
    """The messages of a session in which each request is answered by a result."""
    secret, nonces = bytes.fromhex(args["secret"]), [bytes.fromhex(nonce) for nonce in args["nonces"]]
    technician = provisioning.Technician(args["device"], secret, nonces[0], encrypt_blocks)
    device = provisioning.Device(args["device"], secret, lambda: nonces[1], encrypt_blocks, failed=0, now_ms=0)
    messages = [technician.hello()]
    messages.append(_sent(device.receive(messages[-1], 1)))
    messages.append(technician.prove(messages[-1]))
    messages.append(_sent(device.receive(messages[-1], 1)))
    technician.confirm(messages[-1])
    for request, result in bodies:
        messages.append(technician.seal(bytes.fromhex(request)))
        [(what, body)] = device.receive(messages[-1], 1)
        assert (what, body.hex()) == (provisioning.REQUEST, request)
        messages.append(device.answer(bytes.fromhex(result)))
        assert technician.open(messages[-1]).hex() == result
    return messages


def _sent(actions):
    [message] = [value for what, value in actions if what == provisioning.SEND]
    return message


def _number(value):
    return revived(value) if isinstance(value, dict) else value


def _registers(text):
    return [int(text[at : at + 4], 16) for at in range(0, len(text), 4)]


def _modbus_plan(spans, args):
    """`gap`: the most registers between two spans that are cheaper to read along than to leave out."""
    cost = modbus.Cost(args.get("gap", 8) + 0.5, 1)
    return modbus.plan_reads([tuple(span) for span in spans], cost, most=args.get("most", 125))


def _modbus_request(value, args):
    """The request that parse_request reads as this."""
    function, address, quantity, values, write_address = value
    writers = {
        5: lambda: modbus.write_coil(address, bool(values[0])),
        6: lambda: modbus.write_register(address, values[0]),
        15: lambda: modbus.write_coils(address, values),
        16: lambda: modbus.write_registers(address, values),
        22: lambda: modbus.mask_write(address, values[0], values[1]),
        23: lambda: modbus.read_write_registers(address, quantity, write_address, values),
    }
    made = writers[function]() if function in writers else modbus.read_request(function, address, quantity)
    return made.hex()


def _hex_registers(registers):
    return "".join([f"{register:04x}" for register in registers])


def _whole_item(text, args):
    item, end = cbor.decode(bytes.fromhex(text))
    return item if 2 * end == len(text) else ["followed by", text[2 * end :]]


def _pack_encode(value, args):
    columns = [
        pack.Column(alias, times, qualities, [revived(v) for v in vs]) for alias, times, qualities, vs in value[0]
    ]
    rows = [pack.Row(time, steps, values) for time, steps, values in value[1]]
    return pack.encode_body(pack.Body(columns, rows, value[2], value[3])).hex()


def _senml_encode(value, args):
    body = senml.encode_body(revived(value), device=args["device"], wall_clock=args["wall_clock"])
    return senml.encode_pack(Header(*args["header"]), body, args["sent_ms"]).decode()


def _cursor_decode(text, args):
    session, stored = cursor.decode(text.encode())
    return [session, {str(epoch): seq for epoch, seq in stored.items()}]


def _status_encode(value, args):
    time_ms, lanes, lost, held, most, failure, past = value
    lanes = {
        name: status.Lane([status.Counts(*each) for each in counts], readings, oldest_ms)
        for name, (counts, readings, oldest_ms) in lanes.items()
    }
    past = [status.Sample(*sample) for sample in past]
    return json.loads(status.encode(status.Status(time_ms, lanes, lost, held, most, failure, past)))


def _sender(events, args):
    """What each event of a sender gives, those that give nothing left out."""
    sender = Sender(**args)
    given = []
    for name, *values in events:
        if name == "cursor":
            stored = {int(epoch): seq for epoch, seq in values[1].items()}
            result = sender.cursor(values[0], stored, values[2])
        else:
            result = getattr(sender, name)(*values)
        if result is not None:
            given.append(result)
    return given


def _receiver(events, args):
    """What each event of a receiver gives; "take" offers a header and, if it shall be stored, stores it."""
    receiver = Receiver()
    given = []
    for name, *values in events:
        if name == "restore":
            receiver.restore({int(epoch): seq for epoch, seq in values[0].items()})
        elif name == "take":
            verdict = receiver.offer(Header(*values))
            if verdict == "store":
                receiver.stored(Header(*values))
            given.append(verdict)
        elif name == "cursor":
            given.append({str(epoch): seq for epoch, seq in receiver.cursor().items()})
        elif name == "offer":
            given.append(receiver.offer(Header(*values)))
        else:
            receiver.rolled_back()
    return given


def _told(following):
    """What follows from an event, in short."""
    if isinstance(following, alarm.Escalation):
        return ["tell", following.identity.onset_ms, following.step, list(following.to), following.time_ms]
    told = [following.state, following.identity.onset_ms, following.number, following.time_ms, following.by]
    return told + [following.metric] + ([] if following.value is None else [following.value])


def _alarm(events, args):
    """What follows from each event; "state" and "due" ask the machine. "restart": it goes on from its dump."""
    machine = alarm.Machine(alarm.read_rule(args["rule"]), "t", offset=lambda zone, time: args.get("offset_s", 0))
    now_ms = 0
    found = []
    for name, *values in events:
        if name in ("take", "backfill"):
            time_ms, metric, value, unit = values[:4]
            given = _revived_reading([metric, value, unit] + (values[4:] or ["good"]) + [time_ms])
            machine.take("t", given, max(now_ms, time_ms), backfill=name == "backfill")
        elif name == "restart":
            dumped = json.loads(json.dumps(machine.dump()))
            machine = alarm.Machine(machine.rule, "t", offset=lambda zone, time: args.get("offset_s", 0))
            machine.load(dumped)
        elif name == "state":
            found.append(machine.state)
        elif name == "due":
            found.append(machine.due_ms())
        else:
            now_ms = values[-1] if name in ("start", "settle") else now_ms
            found += [_told(following) for following in getattr(machine, name)(*values) or ()]
    return found


CODECS = {
    "alarm": Codec(_alarm, None, 0),
    "alarm.rule": Codec(lambda document, args: [rule.id for rule in alarm.read_rules(document)], None, 0),
    "alarm.change": Codec(
        lambda text, args: list(alarm.decode_following("flat-12", 5, text)),
        None,
        1,
    ),
    "cbor": Codec(_whole_item, lambda value, args: cbor.encode(value).hex(), 2),
    "cbor.decode": Codec(_whole_item, None, 2),
    "pack": Codec(lambda text, args: pack.decode_body(bytes.fromhex(text)), None, 2),
    "pack.encode": Codec(_pack_encode, None, 0),
    "pack.header": Codec(lambda text, args: pack.decode_header(bytes.fromhex(text))[0], None, 2),
    "senml.encode": Codec(_senml_encode, None, 0),
    "cursor": Codec(_cursor_decode, None, 1),
    "refusal": Codec(lambda text, args: refusal.decode(text.encode()), None, 1),
    "status": Codec(lambda text, args: status.decode(text.encode()), None, 1),
    "tally": Codec(lambda text, args: tally.decode(text.encode()), None, 1),
    "status.encode": Codec(_status_encode, None, 0),
    "custody.sender": Codec(_sender, None, 0),
    "custody.receiver": Codec(_receiver, None, 0),
    "sfloat": Codec(
        lambda text, args: ieee11073.decode_sfloat(int(text, 16)),
        lambda value, args: f"{ieee11073.encode_sfloat(value):04x}",
        0,
    ),
    "float": Codec(
        lambda text, args: ieee11073.decode_float(int(text, 16)),
        lambda value, args: f"{ieee11073.encode_float(value):08x}",
        0,
    ),
    "sfloat.encode": Codec(lambda value, args: f"{ieee11073.encode_sfloat(revived(value)):04x}", None, 0),
    "float.encode": Codec(lambda value, args: f"{ieee11073.encode_float(revived(value)):08x}", None, 0),
    "bthome": Codec(_bthome_decode, None, 2),
    "bthome.encode": Codec(lambda value, args: bthome.encode(revived(value), **args).hex(), None, 0),
    "bthome.nonce": Codec(lambda parts, args: bthome.nonce(*[bytes.fromhex(part) for part in parts]).hex(), None, 0),
    "gatt": Codec(_gatt_decode, _gatt_encode, 2),
    "gatt.convert": Codec(lambda value, args: units.convert(_number(value), args["unit"], args["to"]), None, 0),
    "gatt.encode": Codec(lambda value, args: _gatt_encode(revived(value), args), None, 0),
    "cgm.crc16": Codec(lambda text, args: cgm.crc16(bytes.fromhex(text)), None, 0),
    "hkdf_sha256": Codec(_hkdf, None, 0),
    "hmac_sha256": Codec(lambda text, args: hmac_sha256.hmac(bytes.fromhex(args["key"]), bytes.fromhex(text)), None, 0),
    "lms": Codec(_lms_verify, None, 2),
    "modbus": Codec(
        lambda text, args: modbus.decode_registers(_registers(text), **args),
        lambda value, args: _hex_registers(modbus.encode_registers(value, **args)),
        4,
    ),
    "modbus.encode": Codec(lambda value, args: _hex_registers(modbus.encode_registers(value, **args)), None, 0),
    "modbus.plan": Codec(_modbus_plan, None, 0),
    "modbus.request": Codec(lambda text, args: list(modbus.parse_request(bytes.fromhex(text))), None, 2),
    "modbus.request.encode": Codec(_modbus_request, None, 0),
    "modbus.response": Codec(
        lambda text, args: modbus.response_payload(bytes.fromhex(args["request"]), bytes.fromhex(text)), None, 2
    ),
    "modbus.rtu": Codec(lambda text, args: list(modbus.parse_rtu(bytes.fromhex(text))), None, 2),
    "modbus.rtu.encode": Codec(lambda value, args: modbus.rtu(value[0], bytes.fromhex(value[1])).hex(), None, 0),
    "modbus.tcp": Codec(lambda text, args: modbus.MbapStream().feed(bytes.fromhex(text)), None, 0),
    "provisioning": Codec(_provisioning, None, 0),
    "nmea": Codec(lambda text, args: nmea.decode(nmea.parse(text)), None, 1),
    "nmea.parse": Codec(lambda text, args: nmea.parse(text), None, 1),
    "nmea.rmc": Codec(lambda value, args: nmea.encode_rmc(**_revived_values(value)), None, 0),
    "nmea.gga": Codec(lambda value, args: nmea.encode_gga(**_revived_values(value)), None, 0),
}


def _revived_values(table):
    return {key: revived(value) for key, value in table.items()}


def plain(value):
    """A decoded value in JSON's terms."""
    if isinstance(value, Reading):
        items = [value.metric, plain(value.value), value.unit]
        if value.quality != GOOD or value.time_ms is not None:
            items.append(quality_name(value.quality))
        if value.time_ms is not None:
            items.append(value.time_ms)
        return items
    if isinstance(value, DecimalFraction):
        return {"mantissa": value.mantissa, "exponent": value.exponent}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value.hex() if isinstance(value, bytes) else value


def revived(value):
    """The readings and numbers that `plain` made JSON of. A list of lists is a list of readings."""
    if isinstance(value, dict):
        return DecimalFraction(value["mantissa"], value["exponent"])
    if isinstance(value, list):
        return [_revived_reading(item) for item in value]
    return value


def _revived_reading(item):
    quality = GOOD
    if len(item) > 3:
        quality = [code for code, name in QUALITY_NAMES.items() if name == item[3]][0]  # noqa: RUF015
    return reading(item[0], revived(item[1]), item[2], quality, item[4] if len(item) > 4 else None)


def same(got, want):
    """Equality that tells 1 from true; floats agree to six digits, which is what a 32-bit float holds."""
    if isinstance(want, list):
        return (
            isinstance(got, list)
            and len(got) == len(want)
            and all([same(got[at], item) for at, item in enumerate(want)])
        )
    if isinstance(want, dict):
        return isinstance(got, dict) and set(got) == set(want) and all([same(got[key], want[key]) for key in want])
    if type(got) is not type(want):
        return False
    if isinstance(want, float):
        return abs(got - want) <= 1e-6 * abs(want)
    return got == want


def problems(codec_name, vector):
    """What is wrong with one vector, as sentences; none if all is well."""
    codec = CODECS[codec_name]
    args = vector.get("args", {})
    if ("expect" in vector) == ("error" in vector):
        return ["must have either expect or error"]
    try:
        got = plain(codec.decode(vector["input"], args))
    except ProtocolError as error:
        raised = type(error).__name__
        if raised == vector.get("error"):
            return []
        return [f"raises {raised} ({error}), want {vector.get('error', 'a value')}"]
    if "error" in vector:
        return [f"gives {got}, want {vector['error']}"]
    if not same(got, vector["expect"]):
        return [f"gives {got}, want {vector['expect']}"]
    return _encoding_problems(codec, vector, args) + _prefix_problems(codec, vector, args)


def _encoding_problems(codec, vector, args):
    want = vector.get("encodes", vector["input"])
    if codec.encode is None or want is False:
        return []
    try:
        got = codec.encode(revived(vector["expect"]), args)
    except ProtocolError as error:
        return [f"encoding raises {type(error).__name__} ({error}), want {want}"]
    return [] if got == want else [f"encodes to {got}, want {want}"]


def _prefix_problems(codec, vector, args):
    valid = vector.get("valid_prefixes", ())
    if not codec.step or valid is True:
        return []
    found = []
    text = vector["input"]
    for length in range(len(text) // codec.step):
        try:
            codec.decode(text[: length * codec.step], args)
        except DecodeError:
            if length in valid:
                found.append(f"cut to {length} raises")
            continue
        if length not in valid:
            found.append(f"cut to {length} is accepted")
    return found


def folder():
    """Where this file and the vectors are."""
    return __file__.rsplit("/", 1)[0] if "/" in __file__ else "."


def files():
    """The names of all vector files."""
    return sorted([name for name in os.listdir(folder()) if name.endswith(".json")])


def load(name):
    """(codec name, vector) for every vector of one file."""
    with open(folder() + "/" + name) as file:
        content = json.load(file)
    return [(vector.get("codec", content["codec"]), vector) for vector in content["vectors"]]


def main():
    """Run everything; the exit code."""
    passed = failed = 0
    for name in files():
        for codec_name, vector in load(name):
            found = problems(codec_name, vector)
            for problem in found:
                print(f"{name}: {vector['name']}: {problem}")
            if found:
                failed += 1
            else:
                passed += 1
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
