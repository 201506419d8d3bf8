import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_files import COLUMN, NORMAL, ROW, toy_cine, write_dicom, write_dicom_series
from refusals import refuses
from scipy.spatial.transform import Rotation
from toy_hearts import SPACING_MM

from cmrfed.config import UserError
from cmrfed.shapes import UNLABELLED
from cmrfed.volumes import Entry, load_case, open_cine

IMAGES, _ = toy_cine()


def tag(values):
    return "\\".join(f"{value:.6g}" for value in values)


@pytest.fixture
def folder(tmp_path):
    write_dicom_series(tmp_path / "P1", IMAGES)
    return tmp_path / "P1"


def test_a_series_is_read_exactly_with_its_slope_and_intercept(folder):
    cine = open_cine(folder)
    assert (cine.frames, cine.shape, cine.vendor) == (4, (3, 40, 48), "Siemens")
    assert cine.spacing_mm == pytest.approx(SPACING_MM)
    for frame in range(4):
        np.testing.assert_array_equal(cine.read(frame), IMAGES[frame])
    np.testing.assert_array_equal(np.stack(list(cine.read_all())), IMAGES)


def test_the_distance_between_slices_is_that_of_their_positions_not_their_thickness(folder):
    assert open_cine(folder).spacing_mm[0] == pytest.approx(8.0)  # the files say 6 mm thick


def test_slices_are_ordered_by_position_and_frames_by_trigger_time_whatever_the_files_are_called(tmp_path):
    random = np.random.default_rng(0)
    places = [(frame, at) for frame in range(4) for at in range(3)]
    for name, number in enumerate(random.permutation(len(places))):
        frame, at = places[number]
        write_dicom(tmp_path / f"{name}", IMAGES[frame, at], 8 * at, t00181060=40 * frame, t00200013=name)
    np.testing.assert_array_equal(np.stack(list(open_cine(tmp_path).read_all())), IMAGES)


def test_a_series_a_slice_in_subfolders_is_one_stack(tmp_path):
    for at in range(3):
        write_dicom_series(tmp_path / f"series{at}", IMAGES[:, at : at + 1], t0020000e=f"1.2.3.{at}")
        for path in (tmp_path / f"series{at}").iterdir():
            frame = int(path.stem[-4:]) - 1
            write_dicom(path, IMAGES[frame, at], 8 * at, t00181060=33.5 * frame, t0020000e=f"1.2.3.{at}")
    np.testing.assert_array_equal(np.stack(list(open_cine(tmp_path).read_all())), IMAGES)


@pytest.mark.parametrize("trigger", [None, 0])
def test_without_trigger_times_frames_follow_instance_numbers(tmp_path, trigger):
    write_dicom_series(tmp_path, IMAGES, t00181060=trigger)
    np.testing.assert_array_equal(open_cine(tmp_path).read(2), IMAGES[2])


@settings(max_examples=15, deadline=None)
@given(
    transpose=st.booleans(),
    flips=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    tilt_degrees=st.tuples(*[st.floats(-12, 12)] * 3),
)
def test_however_the_plane_is_stored_it_is_read_as_a_radiologist_sees_it(
    tmp_path_factory, transpose, flips, tilt_degrees
):
    folder = tmp_path_factory.mktemp("plane")
    turn = Rotation.from_euler("xyz", tilt_degrees, degrees=True)
    row, column, normal = turn.apply(ROW), turn.apply(COLUMN), turn.apply(NORMAL)
    for at, pixels in enumerate(IMAGES[0]):
        stored, along, down = pixels, row, column
        if flips[0]:
            stored, down = stored[::-1], -down
        if flips[1]:
            stored, along = stored[:, ::-1], -along
        if transpose:
            stored, along, down = stored.T, down, along
        spacing = tag(SPACING_MM[:0:-1] if transpose else SPACING_MM[1:])
        position = tag(8 * at * normal * (-1 if flips[2] else 1))
        own = {"t00200032": position, "t00200037": tag([*along, *down]), "t00280030": spacing}
        write_dicom(folder / f"{at}.dcm", stored, **own)
    cine = open_cine(folder)
    found = cine.read(None)
    assert cine.spacing_mm == pytest.approx(SPACING_MM, rel=1e-4)
    assert any(np.array_equal(found, IMAGES[0][::step]) for step in (1, -1))  # slices run either way, as stored


def test_other_files_and_views_are_left_out_and_said(folder, caplog):
    (folder / "DICOMDIR").write_bytes(bytes(128) + b"DICM" + bytes(40))
    (folder / "readme.txt").write_text("hello")
    write_dicom(folder / "localiser.dcm", IMAGES[0, 0], t00080008="ORIGINAL\\PRIMARY\\LOCALIZER")
    write_dicom(folder / "four_chamber.dcm", IMAGES[0, 0], t00200037="1\\0\\0\\0\\0\\-1")
    write_dicom(folder / "ct.dcm", IMAGES[0, 0], t00080060="CT")
    with caplog.at_level(logging.INFO):
        np.testing.assert_array_equal(open_cine(folder).read(1), IMAGES[1])
    for words in ("localiser", "another view", "not DICOM", "without an image", "modality 'CT'"):
        assert words in caplog.text


def test_a_stack_of_another_size_is_refused(folder):
    write_dicom_series(folder / "late", IMAGES[:1, :, :32, :32])
    with refuses(folder, "40 x 48", "32 x 32", "keep one"):
        open_cine(folder)


def test_a_second_stack_in_another_orientation_is_refused(folder):
    for at in range(3):
        own = {"t00200037": "1\\0\\0\\0\\0\\-1", "t00200032": f"0\\{8 * at}\\0"}
        write_dicom(folder / f"coronal{at}.dcm", IMAGES[0, at], **own)
    with refuses(folder, "two orientations"):
        open_cine(folder)


def test_a_missing_frame_is_refused(folder):
    (folder / "IM-0003-0006.dcm").unlink()
    with refuses(folder, "slice 1 has 3 frames", "the others have 4"):
        open_cine(folder)


def test_a_slice_that_was_scanned_twice_is_refused(folder):
    for frame in range(4):
        own = {"t00181060": 33.5 * frame, "t0020000e": "1.2.3.5"}
        write_dicom(folder / f"again{frame}.dcm", IMAGES[frame, 1] + 1, 8.0, **own)
    with refuses(folder, "slice 1 has 8 frames from 2 series", "IM-0003-0005.dcm", "again0.dcm", "keep one series"):
        open_cine(folder)


def test_a_missing_slice_is_refused(tmp_path):
    for at in (0, 1, 3, 4):
        write_dicom(tmp_path / f"{at}.dcm", IMAGES[0, 0], 8 * at)
    with refuses(tmp_path, "8.0 to 16.0 mm"):
        open_cine(tmp_path)


def test_a_truncated_image_is_refused(folder):
    path = folder / "IM-0003-0005.dcm"
    path.write_bytes(path.read_bytes()[:-900])
    with pytest.raises(UserError) as caught:
        list(open_cine(folder).read_all())
    assert "\n" not in str(caught.value)


def test_an_element_that_claims_gigabytes_is_not_believed(folder):
    path = folder / "IM-0003-0005.dcm"
    content = path.read_bytes()
    at = content.index(b"\xe0\x7f\x10\x00OW") + 8
    path.write_bytes(content[:at] + b"\xf0\xff\xff\x7f" + content[at + 4 :])
    with refuses(folder, "slice 1 has 3 frames", "1 x DICOM file that is damaged"):
        open_cine(folder)


def test_a_folder_without_images_is_refused_with_what_was_found(tmp_path):
    (tmp_path / "notes.txt").write_text("none yet")
    with refuses(tmp_path, "no MR image", "1 x file that is not DICOM"):
        open_cine(tmp_path)


def test_an_unknown_maker_is_unknown_and_not_an_error(tmp_path):
    write_dicom_series(tmp_path, IMAGES, t00080070="United Imaging")
    assert open_cine(tmp_path).vendor == "unknown"


def test_a_series_is_loaded_as_a_case_with_its_motion(folder):
    case = load_case(Entry(folder, None, {}, 1, "cine-P1", "cine"))
    np.testing.assert_array_equal(case.image, IMAGES[1])
    assert (case.mask == UNLABELLED).all()
    assert case.motion is not None
    with refuses(folder, "frame 4", "0 to 3"):
        load_case(Entry(folder, None, {}, 4, "cine-P1", "cine"))
    with refuses(folder, "4 frames", "name the one"):
        load_case(Entry(folder, None, {}, None, "cine-P1", "cine"))
