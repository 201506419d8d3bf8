"""Only what the engineer approved may ask; one changed byte is another app."""

import hashlib
import io
import zipfile

import pytest
from refusals import refuses

from cmrfed.door.bundles import LARGEST_BUNDLE, Bundles


def bundle(**files):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as zipped:
        for name, text in files.items():
            zipped.writestr(name, text)
    return packed.getvalue()


def named(content):
    return hashlib.sha256(content).hexdigest()


FIRST = bundle(pyproject="a = 1\nb = 2\n", notes="read me\n")
SECOND = bundle(pyproject="a = 1\nb = 3\n", code="import os\n")


@pytest.fixture
def bundles(tmp_path):
    return Bundles(tmp_path / "bundles")


def test_nothing_is_admitted_until_it_is_approved(bundles):
    assert not bundles.admits(FIRST)
    assert bundles.waiting() == [named(FIRST)]
    bundles.approve(named(FIRST))
    assert bundles.admits(FIRST) and bundles.waiting() == []


def test_one_changed_byte_is_another_app(bundles):
    bundles.admits(FIRST)
    bundles.approve(named(FIRST))
    for place in range(0, len(FIRST), 7):
        forged = bytearray(FIRST)
        forged[place] ^= 1
        assert not bundles.admits(bytes(forged))


def test_what_is_withdrawn_asks_no_longer(bundles):
    bundles.admits(FIRST)
    bundles.approve(named(FIRST))
    bundles.withdraw(named(FIRST))
    assert not bundles.admits(FIRST)
    with refuses("nothing to withdraw"):
        bundles.withdraw(named(SECOND))


def test_what_changed_since_the_last_approved_is_shown(bundles):
    bundles.admits(FIRST)
    assert "+a = 1" in list(bundles.changes(named(FIRST))), "the first of all is shown whole"
    bundles.approve(named(FIRST))
    bundles.admits(SECOND)
    shown = [line for line in bundles.changes(named(SECOND)) if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    assert sorted(shown) == ["+b = 3", "+import os", "-b = 2", "-read me"]


def test_what_never_came_or_is_damaged_cannot_be_approved(bundles):
    with refuses("holds no bundle"):
        bundles.approve(named(FIRST))
    bundles.admits(FIRST)
    (bundles.folder / f"{named(FIRST)}.fab").write_bytes(SECOND)
    with refuses("is damaged"):
        bundles.approve(named(FIRST))


def test_a_server_cannot_fill_the_disk(bundles):
    with refuses("larger than the allowed"):
        bundles.admits(b"x" * (LARGEST_BUNDLE + 1))
    for number in range(50):
        bundles.admits(b"%d" % number)
    assert len(list(bundles.folder.glob("*.fab"))) <= 20
    assert named(b"49") in bundles.waiting(), "the newest is there to be read"


def test_a_bundle_that_unpacks_to_far_more_is_not_unpacked(bundles):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("bomb", b"0" * 100_000_000)
    bundles.admits(packed.getvalue())
    with refuses("do not approve it"):
        list(bundles.changes(named(packed.getvalue())))


def test_what_is_no_zip_is_said_to_be_none(bundles):
    bundles.admits(b"no zip")
    with refuses("cannot be read"):
        list(bundles.changes(named(b"no zip")))
