"""A sealed block: readings of one stream in order of time, compressed column by column. Pure.

    block = header ++ times ++ forms ++ whole numbers ++ floats ++ texts
    header = CRC-32 of all behind it, then the lengths of the first four columns, uint32 each

Times and numbers are compressed by pcodec, which finds steps, multiples and decimals by itself. A form that all
readings share is written once. Texts are JSON, deflated.
"""

import json
import struct
import zlib
from typing import Any

import numpy as np
from pcodec import ChunkConfig, standalone

from hub.errors import DamagedBlockError
from hub.store.readings import ABSENT, FLOAT, FORMED, RECORD, Readings, compact

MAX_READINGS = 4096
_HEADER = struct.Struct("<5I")
_FORM = struct.Struct("<I")
_CONFIG = ChunkConfig()


def encode(readings: Readings) -> bytes:
    """The block's bytes; at least one reading. The stream is not in them: it is the row's."""
    records, texts = compact(readings)
    formed = records.view(FORMED)
    forms, numbers, kinds = formed["form"], records["number"], records["kind"]
    real = kinds == FLOAT
    whole = ~real & (kinds != ABSENT)
    columns = (
        _compressed(formed["time_ms"]),
        _FORM.pack(forms[0]) if (forms == forms[0]).all() else _compressed(forms),
        _compressed(numbers[whole]),
        _compressed(np.ascontiguousarray(numbers[real]).view("<f8")),
    )
    told = zlib.compress(json.dumps(texts, ensure_ascii=False).encode(), 6) if texts else b""
    rest = _HEADER.pack(0, *map(len, columns))[4:] + b"".join(columns) + told
    return zlib.crc32(rest).to_bytes(4, "little") + rest


def decode(data: bytes, stream: int, day: int) -> Readings:
    """The readings of this stream's block of this day. Raises DamagedBlockError."""
    if len(data) < _HEADER.size or zlib.crc32(data[4:]) != int.from_bytes(data[:4], "little"):
        raise DamagedBlockError(stream, day)
    _, *lengths = _HEADER.unpack_from(data)
    columns, at = [], _HEADER.size
    for length in lengths:
        columns.append(data[at : at + length])
        at += length
    times = standalone.simple_decompress(columns[0])
    formed = np.zeros(len(times), FORMED)
    formed["stream"] = stream
    formed["time_ms"] = times
    formed["form"] = (
        _FORM.unpack(columns[1])[0] if len(columns[1]) == _FORM.size else standalone.simple_decompress(columns[1])
    )
    records = formed.view(RECORD)
    real = records["kind"] == FLOAT
    if columns[2]:
        records["number"][~real & (records["kind"] != ABSENT)] = standalone.simple_decompress(columns[2])
    if columns[3]:
        records["number"][real] = standalone.simple_decompress(columns[3]).view("<i8")
    return Readings(records, json.loads(zlib.decompress(data[at:])) if at < len(data) else ())


def _compressed(column: Any) -> bytes:
    return standalone.simple_compress(np.ascontiguousarray(column), _CONFIG) if len(column) else b""
