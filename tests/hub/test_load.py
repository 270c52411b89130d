"""The bench of ingest at a small count: real broker, real ingest, and every reading stored once."""

from pathlib import Path

from bench.ingest import measure


async def test_forty_homes_are_stored_while_they_speak(tmp_path: Path) -> None:
    said = await measure(tmp_path, gateways=40, seconds=4.0, rows=80_000)
    assert (said["missing"], said["duplicates"], said["unheard"]) == (0, 0, 0)
    assert said["stored"] == said["made"] > 40 * 4 * 20
    assert said["streams"] == 26 * 48 + 14 * 30 + 1  # every third home has one meter; one is of the rows before
