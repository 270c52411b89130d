"""What a gateway offers its devices, and what it makes of what they say; the folder that an operator fills."""

from pathlib import Path

import pytest

from edge.errors import UpdateError
from edge.update_images import Image, Images
from edge.updates import Updates
from hardware import build, images, signing
from protocols.image import Manifest
from protocols.update import REFUSED, TRIAL, WANTS, Step

FILES = {"firmware/main.mpy": b"what runs", "firmware/more.mpy": b"more of it"}


def made(folder: Path, version: int, *, base: Path | None = None) -> Path:
    key = folder / "key"
    if not key.exists():
        signing.make_key(key)
    out = folder / f"image-{version}"
    build.write_image(out, images.manifest("board", "app", version, "x", FILES), FILES, key=key, base=base)
    return out


# --- the folder ---


def test_a_things_own_image_comes_before_its_models(tmp_path: Path) -> None:
    kept = Images(tmp_path / "data")
    assert kept.for_thing("w", "wearable") is None
    kept.give("wearable", made(tmp_path, 2))
    kept.give("w", made(tmp_path, 3))
    found = [kept.for_thing(thing, "wearable") for thing in ("w", "v")]
    assert [image and image.manifest.version for image in found] == [3, 2]
    assert kept.for_thing("w", "wearable") is found[0]  # it is not read again
    kept.withdraw("w")
    again = kept.for_thing("w", "wearable")
    assert again is not None
    assert again.manifest.version == 2
    with pytest.raises(UpdateError, match="there is no update for w"):
        kept.withdraw("w")


def test_the_patch_for_what_runs_is_offered_or_else_the_whole(tmp_path: Path) -> None:
    kept = Images(tmp_path / "data")
    first = made(tmp_path, 1)
    kept.give("w", made(tmp_path, 2, base=first))
    image = kept.for_thing("w", "wearable")
    assert image is not None
    patch, whole = image.offer(1), image.offer(7)
    assert (patch.base, whole.base) == (1, 0)
    assert patch.patch_bytes < whole.patch_bytes
    assert patch.id != whole.id
    for offer in (patch, whole):
        assert len(image.contents[offer.base]) == offer.manifest_bytes + offer.signature_bytes + offer.patch_bytes


@pytest.mark.parametrize("missing", ["manifest.json", "signature", "image.patch"])
def test_a_folder_that_is_no_signed_image_is_refused_by_name(tmp_path: Path, missing: str) -> None:
    folder = made(tmp_path, 2)
    (folder / missing).unlink()
    with pytest.raises(UpdateError, match=f"image-2 is no signed image .*{missing}"):
        Images(tmp_path / "data").give("w", folder)
    made_empty = tmp_path / "image-2" / missing
    made_empty.write_bytes(b"")
    with pytest.raises(UpdateError, match="image-2"):
        Images(tmp_path / "data").give("w", folder)
    assert Images(tmp_path / "data").for_thing("w", "wearable") is None


# --- the rollout ---

NEW = Image(Manifest("board", "app", 2, "x", bytes(32), (("a", 1),)), (3, 4), {0: b"mmmsssspatch", 1: b"mmmssssdelta!"})
BIRTH = {"state": "online", "version": 1, "board": "board", "app": "app"}


class Site:
    """One device and the image that it shall run."""

    def __init__(self) -> None:
        self.image: Image | None = NEW
        self.updates = Updates({"w": "wearable"}, lambda thing, model: self.image)

    def state(self) -> tuple[object, ...]:
        row = self.updates.states()["w"]
        return row["version"], row["wanted"], row["state"], row["reason"]


def test_from_the_offer_to_the_version_that_runs() -> None:
    site = Site()
    assert site.updates.due("w", 0) is None  # nothing was heard of it
    site.updates.born("w", BIRTH)
    offer = site.updates.due("w", 0)
    assert offer == NEW.offer(1)
    assert site.updates.due("w", 29_999) is None
    assert site.updates.due("w", 30_000) == offer  # it was met with silence
    taken = b""
    while len(taken) < len(NEW.contents[1]):
        part = site.updates.heard("w", Step(offer.id, WANTS, len(taken), 5, ""), 31_000)
        assert part is not None
        assert (part.id, part.at) == (offer.id, len(taken))
        taken += part.data
    assert taken == NEW.contents[1]
    end = site.updates.heard("w", Step(offer.id, WANTS, len(taken), 5, ""), 31_000)
    assert end is not None
    assert end.data == b""
    site.updates.heard("w", Step(offer.id, TRIAL, 0, 0, ""), 32_000)
    assert site.state() == (1, 2, "trial", "")
    for birth in ({**BIRTH, "state": "offline"}, {**BIRTH, "version": 2, "trial": True}):
        site.updates.born("w", birth)
        assert site.updates.due("w", 90_000) is None
        assert site.state()[2] == "trial"
    site.updates.born("w", {**BIRTH, "version": 2})
    assert site.updates.due("w", 90_000) is None
    assert site.state() == (2, 2, "current", "")


def test_what_was_refused_is_offered_again_only_when_it_was_given_again() -> None:
    site = Site()
    site.updates.born("w", BIRTH)
    offer = site.updates.due("w", 0)
    assert offer is not None
    site.updates.heard("w", Step(offer.id, REFUSED, 0, 0, "bad signature"), 0)
    site.updates.born("w", BIRTH)
    assert site.updates.due("w", 1 << 30) is None
    assert site.state() == (1, 2, "refused", "bad signature")
    site.image = Image(NEW.manifest, NEW.head_bytes, NEW.contents)
    assert site.updates.due("w", 1 << 30) == offer


def test_a_version_that_failed_its_trial_is_not_offered_again_and_the_reason_is_told() -> None:
    site = Site()
    crash = "Traceback\n  ...\nUpdateError: no sensor\n"
    site.updates.born("w", {**BIRTH, "version": 2, "trial": True, "crash": crash})
    site.updates.born("w", {**BIRTH, "failed": 2})
    assert site.updates.due("w", 0) is None
    assert site.state() == (1, 2, "failed", "UpdateError: no sensor")
    site.image = Image(NEW.manifest._replace(version=3), NEW.head_bytes, NEW.contents)
    assert site.updates.due("w", 0) is not None


def test_after_a_restart_of_the_gateway_the_offer_is_made_anew() -> None:
    site = Site()
    site.updates.born("w", BIRTH)
    assert site.updates.heard("w", Step(4711, WANTS, 512, 512, ""), 0) is None  # asked of the one before
    assert site.updates.due("w", 0) == NEW.offer(1)


def test_a_part_is_asked_for_when_the_image_was_withdrawn() -> None:
    site = Site()
    site.updates.born("w", BIRTH)
    offer = site.updates.due("w", 0)
    assert offer is not None
    site.image = None
    assert site.updates.due("w", 0) is None
    assert site.updates.heard("w", Step(offer.id, WANTS, 0, 5, ""), 0) is None


@pytest.mark.parametrize("version", [None, "2", True, -1, 0, 1.5])
def test_a_device_without_a_version_is_offered_nothing(version: object) -> None:
    site = Site()
    site.updates.born("w", {"state": "online", "version": version})
    assert site.updates.due("w", 0) is None


def test_each_change_is_told_once() -> None:
    site = Site()
    site.updates.born("w", BIRTH)
    site.updates.due("w", 0)
    assert list(site.updates.news()) == [("w", 1, "offered 2")]
    assert list(site.updates.news()) == []
