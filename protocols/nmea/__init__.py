"""NMEA 0183: the sentences of satellite receivers and ships' instruments."""

from .decode import DECODERS, METRICS, decode
from .encode import encode_gga, encode_rmc
from .fields import POSITION_EXPONENT
from .sentence import MAX_LENGTH, TOLERATED_LENGTH, Sentence, checksum, parse, sentence

__all__ = (
    "DECODERS",
    "MAX_LENGTH",
    "METRICS",
    "POSITION_EXPONENT",
    "TOLERATED_LENGTH",
    "Sentence",
    "checksum",
    "decode",
    "encode_gga",
    "encode_rmc",
    "parse",
    "sentence",
)
