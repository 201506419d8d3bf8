import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_files import toy_cine
from refusals import refuses
from toy_hearts import SPACING_MM

from cmrfed.conditions import UNLABELLED
from cmrfed.shapes import Label
from cmrfed.volumes import FIND, Entry, load_case, open_cine, write_volume
from cmrfed.volumes.phases import motion

LABELS = {label.value: label for label in Label} | {UNLABELLED: UNLABELLED}
IMAGES, MASKS = toy_cine()


def entry_of(folder, images=IMAGES, masks=MASKS, phase="ED", frame=FIND):
    write_volume(folder / "image.nii", images.astype(np.float32), SPACING_MM)
    mask_path = None
    if masks is not None:
        mask_path = folder / "mask.nii"
        write_volume(mask_path, masks, SPACING_MM)
    return Entry(folder / "image.nii", mask_path, LABELS, frame, "x-P1", "x", phase=phase)


@settings(max_examples=20, deadline=None)
@given(frames=st.integers(3, 12), amplitude=st.floats(0, 100), shift=st.floats(0, 6), level=st.floats(-50, 50))
def test_motion_is_the_amplitude_of_the_first_harmonic(tmp_path_factory, frames, amplitude, shift, level):
    time = 2 * np.pi * np.arange(frames) / frames
    images = np.tile(level + amplitude * np.cos(time + shift), (2, 3, 4, 1)).transpose(3, 0, 1, 2).astype(np.float32)
    path = tmp_path_factory.mktemp("motion") / "cine.nii"
    write_volume(path, images, SPACING_MM)
    np.testing.assert_allclose(motion(open_cine(path)), amplitude, atol=2e-3)


def test_motion_of_two_frames_is_their_difference(tmp_path):
    write_volume(tmp_path / "cine.nii", IMAGES[:2].astype(np.float32), SPACING_MM)
    np.testing.assert_allclose(motion(open_cine(tmp_path / "cine.nii")), np.abs(IMAGES[1] - IMAGES[0]), atol=1e-3)


@pytest.mark.parametrize(("phase", "frame"), [("ED", 0), ("ES", 2)])
@pytest.mark.parametrize("masks", [MASKS, None, np.zeros_like(MASKS)], ids=["masks", "no mask", "empty masks"])
def test_ed_and_es_are_found(tmp_path, phase, frame, masks):
    case = load_case(entry_of(tmp_path, masks=masks, phase=phase))
    np.testing.assert_array_equal(case.image, IMAGES[frame])
    assert (case.motion is None) == (masks is MASKS)


def test_ed_is_the_frame_of_the_largest_cavity_even_where_it_is_not_the_first(tmp_path):
    order = [3, 0, 1, 2]
    case = load_case(entry_of(tmp_path, IMAGES[order], MASKS[order]))
    np.testing.assert_array_equal(case.image, IMAGES[0])


def test_masks_of_one_frame_only_do_not_tell_the_other_phase(tmp_path):
    with refuses(tmp_path / "image.nii", "only frame 1 is labelled"):
        load_case(entry_of(tmp_path, masks=MASKS * (np.arange(4) == 1)[:, None, None, None]))


def test_a_single_frame_has_no_phase_to_be_found(tmp_path):
    with refuses(tmp_path / "image.nii", "one frame"):
        load_case(entry_of(tmp_path, IMAGES[0], None))
    with refuses(tmp_path / "image.nii", "'unknown'"):
        load_case(entry_of(tmp_path, phase="unknown"))


@pytest.mark.parametrize("masks", [None, np.zeros_like(MASKS)], ids=["no mask", "empty mask"])
def test_a_case_without_structures_has_the_motion_of_its_cine(tmp_path, masks):
    case = load_case(entry_of(tmp_path, masks=masks, frame=1))
    rows, columns = np.nonzero(case.motion > np.quantile(case.motion, 0.98))[1:]
    assert np.hypot(np.median(rows) - 20, np.median(columns) - 28) < 4


def test_a_labelled_case_has_no_motion(tmp_path):
    assert load_case(entry_of(tmp_path, frame=1)).motion is None
