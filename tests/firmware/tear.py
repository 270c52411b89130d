"""Runs on both interpreters: a journal whose last segment ends at every possible byte, and one with every byte damaged.

Argument: an empty directory. Prints how many cases held.
"""

import os
import sys

from firmware.core.journal import Journal

PACKS = [b"first", b"the second one", b"3rd"]
RECORD_HEAD = 8
LIMIT = 65536


def make(directory):
    journal = Journal(directory, limit_bytes=LIMIT)
    journal.open(7)
    for number, pack in enumerate(PACKS):
        journal.append(pack, number + 1)
    (name,) = os.listdir(directory)
    with open(directory + "/" + name, "rb") as file:
        return name, file.read()


def expected_whole(length):
    whole = end = 0
    for pack in PACKS:
        end += RECORD_HEAD + len(pack)
        whole += end <= length
    return whole


def check(directory, name, content, whole):
    """The journal holds just the whole packs and takes new ones."""
    os.mkdir(directory)
    with open(directory + "/" + name, "wb") as file:
        file.write(content)
    journal = Journal(directory, limit_bytes=LIMIT)
    held = [(7, 1, whole)] if whole else []
    assert journal.epochs() == held, (journal.epochs(), held)
    journal.open(8)
    assert journal.append(b"after the start", 2) == 1
    again = Journal(directory, limit_bytes=LIMIT)
    assert again.epochs() == held + [(8, 1, 1)], again.epochs()
    assert [again.read(7, seq + 1) for seq in range(whole)] == [(PACKS[n], n + 1) for n in range(whole)]
    assert again.read(8, 1) == (b"after the start", 2)


def main(directory):
    name, content = make(directory + "/whole")
    cases = 0
    for length in range(len(content) + 1):
        check(f"{directory}/cut{length}", name, content[:length], expected_whole(length))
        cases += 1
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 0x10
        check(f"{directory}/damage{place}", name, bytes(damaged), expected_whole(place))
        cases += 1
    print(cases)


main(sys.argv[1])
