"""Which frame of a mask belongs to which frame of its cine."""

from dataclasses import replace

import numpy as np
import pytest
from image_files import toy_cine
from refusals import refuses
from toy_hearts import SPACING_MM

from cmrfed.conditions import UNLABELLED
from cmrfed.shapes import Label
from cmrfed.volumes import FIND, Entry, load_case, write_volume

LABELS = {label.value: label for label in Label} | {UNLABELLED: UNLABELLED}
IMAGES, MASKS = toy_cine()


@pytest.fixture
def entry(tmp_path):
    """A cine at end systole, frame 2, whose mask is yet to be written."""
    write_volume(tmp_path / "cine.nii", IMAGES.astype(np.float32), SPACING_MM)
    return Entry(tmp_path / "cine.nii", tmp_path / "mask.nii", LABELS, 2, "x-P1", "x", phase="ES")


@pytest.mark.parametrize("mask", [MASKS[2], MASKS[2:3]], ids=["3-D", "4-D of one frame"])
def test_a_mask_of_one_frame_belongs_to_the_frame_that_is_named(entry, mask):
    write_volume(entry.mask_path, mask, SPACING_MM)
    case = load_case(entry)
    np.testing.assert_array_equal(case.image, IMAGES[2])
    np.testing.assert_array_equal(case.mask, MASKS[2])
    assert case.motion is None


def test_a_mask_of_every_frame_is_read_at_the_frame_that_is_named(entry):
    write_volume(entry.mask_path, MASKS, SPACING_MM)
    np.testing.assert_array_equal(load_case(entry).mask, MASKS[2])


@pytest.mark.parametrize("phase", ["ED", "ES"])
def test_a_mask_of_one_frame_does_not_tell_which(entry, phase):
    write_volume(entry.mask_path, MASKS[2], SPACING_MM)
    with refuses(entry.mask_path, "one of the 4 frames of cine.nii", "column frame"):
        load_case(replace(entry, frame=FIND, phase=phase))


@pytest.mark.parametrize("frame", [0, 1, 2, FIND])
def test_a_mask_of_some_frames_is_refused_whichever_is_asked_for(entry, frame):
    """Frame 1 of a mask of ED and ES alone is ES, of the cine it is not."""
    write_volume(entry.mask_path, MASKS[[0, 2]], SPACING_MM)
    with refuses(entry.mask_path, "has 2 frames", "has 4"):
        load_case(replace(entry, frame=frame))


def test_a_cine_of_masks_is_not_of_one_image(entry):
    write_volume(entry.image_path, IMAGES[2].astype(np.float32), SPACING_MM)
    write_volume(entry.mask_path, MASKS, SPACING_MM)
    with refuses(entry.mask_path, "has 4 frames", "has 1"):
        load_case(replace(entry, frame=None))


def test_a_case_is_of_its_entrys_visit(entry):
    write_volume(entry.mask_path, MASKS, SPACING_MM)
    assert load_case(replace(entry, visit="2021")).visit == "2021"
