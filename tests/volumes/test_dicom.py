import logging
import os
import shutil
from functools import partial
from pathlib import Path

import image_files as packed
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from image_files import COLUMN, NORMAL, ROW, repack, toy_cine, write_dicom, write_dicom_series
from refusals import refuses
from scipy.spatial.transform import Rotation
from toy_hearts import SPACING_MM

from cmrfed.conditions import UNLABELLED
from cmrfed.config import UserError
from cmrfed.volumes import Entry, holds_dicom, load_case, open_cine
from cmrfed.volumes.dicom_pixels import _gdcm

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


PACKINGS = {
    "without preamble": packed.without_preamble,
    "without header": packed.without_header,
    "zeros at the end": packed.padded,
    "newline at the end": packed.with_newline,
    "deflated": packed.deflated,
    "deflated, zeros at the end": lambda content: packed.padded(packed.deflated(content)),
    "implicit": packed.implicit,
    "implicit without header": packed.bare_implicit,
    "big endian": packed.big_endian,
    "run lengths": packed.run_length,
    "JPEG": packed.jpeg,
    "JPEG 2000": packed.jpeg_2000,
    "white is 0": packed.inverted,
    "sequences": partial(packed.with_sequences, depth=5),
    "sequences of stated length": partial(packed.with_sequences, depth=2000, stated=True),
}


@pytest.mark.parametrize("packing", PACKINGS)
def test_however_a_file_is_packed_the_cine_is_the_same(folder, packing):
    repack(folder, PACKINGS[packing])
    assert holds_dicom(folder)
    cine = open_cine(folder)
    np.testing.assert_array_equal(np.stack(list(cine.read_all())), IMAGES)
    assert (cine.vendor, cine.spacing_mm) == ("Siemens", pytest.approx(SPACING_MM))


@pytest.mark.parametrize("packing", [packed.run_length, packed.jpeg, packed.deflated])
def test_a_compressed_file_that_is_cut_short_is_refused(folder, packing):
    repack(folder, packing)
    path = folder / "IM-0003-0005.dcm"
    path.write_bytes(path.read_bytes()[:-1500])
    with refuses(folder):
        list(open_cine(folder).read_all())


@pytest.mark.parametrize("name", [b"pat\xe9nt", b"\xff\xfe", "Müller 王".encode()])
def test_a_folder_of_any_name_is_read(folder, name):
    odd = os.path.join(os.fsencode(folder.parent), name)  # noqa: PTH118 (bytes)
    os.rename(folder, odd)  # noqa: PTH104 (bytes)
    repack(Path(os.fsdecode(odd)), packed.jpeg)
    np.testing.assert_array_equal(open_cine(Path(os.fsdecode(odd))).read(1), IMAGES[1])


def test_sequences_nested_twenty_thousand_deep_are_refused_and_end_nothing(folder):
    path = folder / "IM-0003-0005.dcm"
    path.write_bytes(packed.with_sequences(path.read_bytes(), 20_000))
    with refuses(
        folder, "slice 1 has 3 frames", "1 x DICOM file "
    ):  # by the interpreter's bound on depth, or by ours on
        open_cine(folder)  # steps, whichever comes first


@pytest.mark.parametrize(
    "filling", [b"\x09\0\x01\x10LO\0\0", b"\xfe\xff\x00\xe0" + bytes(4)], ids=["elements", "items"]
)
def test_a_file_of_400_000_elements_is_refused_soon(folder, filling):
    path = folder / "IM-0003-0005.dcm"
    content = path.read_bytes()
    start = b"" if filling[:1] == b"\x09" else b"\x08\0\x40\x11SQ\0\0" + b"\xff" * 4
    at = content.index(b"\x10\0\x10\0PN")
    path.write_bytes(content[:at] + start + filling * 400_000 + content[at:])
    with refuses(folder, "slice 1 has 3 frames", "1 x DICOM file that is damaged"):
        open_cine(folder)


def test_a_file_that_inflates_to_gigabytes_is_refused(folder):
    path = folder / "IM-0003-0005.dcm"
    path.write_bytes(packed.deflated(path.read_bytes() + bytes(2**27)))
    with refuses(folder, "slice 1 has 3 frames", "1 x DICOM file that is damaged"):
        open_cine(folder)


def test_a_picture_that_ends_its_decoder_is_refused_and_the_next_is_read(folder):
    repack(folder, packed.jpeg)
    cine = open_cine(folder)
    np.testing.assert_array_equal(cine.read(0), IMAGES[0])
    _gdcm(os.getpid()).kill()
    with refuses(folder, "JPEG Lossless", "cannot be decoded"):
        cine.read(1)
    np.testing.assert_array_equal(cine.read(1), IMAGES[1])


@pytest.mark.parametrize("packing", [packed.jpeg, packed.jpeg_2000])
def test_damaged_compressed_pixels_are_refused_or_read_and_end_nothing(tmp_path, packing):
    content = packing(write_dicom(tmp_path / "image.dcm", IMAGES[0, 0]).read_bytes())
    start = content.index(b"\xff\xd8" if packing is packed.jpeg else b"\xff\x4f")
    for seed in range(30):
        random = np.random.default_rng(seed)
        damaged = np.frombuffer(content, np.uint8).copy()
        where = random.integers(start + 2, min(start + 150, len(damaged)), 3)
        damaged[where] = random.integers(0, 256, 3)
        (tmp_path / "image.dcm").write_bytes(damaged.tobytes())
        try:
            assert np.isfinite(open_cine(tmp_path).read(0)).all()
        except UserError as error:
            assert "\n" not in str(error)


def test_a_picture_that_claims_gigabytes_is_refused(tmp_path):
    content = packed.jpeg_2000(write_dicom(tmp_path / "image.dcm", IMAGES[0, 0]).read_bytes())
    at = content.index(b"\xff\x51") + 6  # the reference grid's width and height
    (tmp_path / "image.dcm").write_bytes(content[:at] + b"\0\0\x7f\xff" * 2 + content[at + 8 :])
    with refuses(tmp_path / "image.dcm", "JPEG 2000", "cannot be decoded"):
        open_cine(tmp_path).read(0)


def copy_every_file(folder):
    for path in sorted(folder.iterdir()):
        shutil.copy(path, path.with_name(f"{path.stem} (1).dcm"))


def copy_under_new_identities(folder):
    write_dicom_series(folder / "sent again", IMAGES, t00080018="1.2.77", t0020000e="1.2.3.77", t00200013=99)


def copy_some_into_another_series(folder):
    for frame in range(4):
        own = {"t00181060": 33.5 * frame, "t00200013": frame, "t0020000e": "1.2.3.1"}
        write_dicom(folder / "again" / f"{frame}", IMAGES[frame, 1], 8.0, **own)


def add_phase_images(folder):
    write_dicom_series(folder / "b", 4000 - IMAGES, t00080008="ORIGINAL\\PRIMARY\\P\\ND", t0020000e="1.2.3.5")


def add_velocities(folder):
    write_dicom_series(folder / "v", 4000 - IMAGES, t00080008="ORIGINAL\\PRIMARY\\VELOCITY MAP\\P\\PCA")


def add_phase_images_of_the_new_standard(folder):
    write_dicom_series(folder / "c", 4000 - IMAGES, t00089208="PHASE", t0020000e="1.2.3.5")


def add_real_and_imaginary_parts(folder):
    for part in ("R", "I"):
        kind = f"ORIGINAL\\PRIMARY\\{part}_FFE\\{part}\\FFE"
        write_dicom_series(folder / part, IMAGES - 100, t00080008=kind, t0020000e=f"1.2.3.{part}")


def add_derived_images(folder):
    write_dicom_series(folder / "d", IMAGES / 2, t00080008="DERIVED\\SECONDARY\\M\\ND", t0020000e="1.2.3.6")


def add_a_localiser(folder):
    write_dicom(folder / "localiser.dcm", IMAGES[0, 0], t00080008="ORIGINAL\\PRIMARY\\LOCALIZER")


def add_a_long_axis_view(folder):
    write_dicom(folder / "long.dcm", IMAGES[0, 0], t00200037="1\\0\\0\\0\\0\\-1")


BESIDE_THE_CINE = {
    copy_every_file: "12 x copy of another file",
    copy_under_new_identities: "copy of another file",
    copy_some_into_another_series: "4 x copy of another file",
    add_phase_images: "12 x phase image",
    add_velocities: "phase image",
    add_phase_images_of_the_new_standard: "phase image",
    add_real_and_imaginary_parts: "12 x imaginary part image",
    add_derived_images: "better corrected (DERIVED\\SECONDARY\\M\\ND)",
    add_a_localiser: "1 x localiser",
    add_a_long_axis_view: "1 x image of another view",
}


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(beside=st.sets(st.sampled_from(list(BESIDE_THE_CINE))), seed=st.integers(0, 2**16))
def test_whatever_lies_beside_a_cine_the_cine_is_read_and_the_rest_is_said(tmp_path_factory, caplog, beside, seed):
    folder = tmp_path_factory.mktemp("study") / "P1"
    write_dicom_series(folder, IMAGES)
    for add in sorted(beside, key=lambda add: add is not copy_every_file):
        add(folder)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for path, name in zip(files, np.random.default_rng(seed).permutation(len(files)), strict=True):
        path.rename(folder / f"{name:03d}")
    caplog.clear()
    with caplog.at_level(logging.INFO):
        np.testing.assert_array_equal(np.stack(list(open_cine(folder).read_all())), IMAGES)
    assert all(BESIDE_THE_CINE[add].split(" x ")[-1] in caplog.text for add in beside)


@pytest.mark.parametrize("add", BESIDE_THE_CINE)
def test_what_lies_beside_a_cine_is_left_out_and_said(folder, caplog, add):
    add(folder)
    with caplog.at_level(logging.INFO):
        np.testing.assert_array_equal(np.stack(list(open_cine(folder).read_all())), IMAGES)
    assert BESIDE_THE_CINE[add] in caplog.text


@pytest.mark.parametrize(
    ("worse", "better"),
    [("M\\ND", "M\\DIS2D"), ("M\\DIS2D", "M\\NORM\\DIS2D"), ("M\\ND", "M\\ND\\NORM"), ("M\\ND\\NORM", "M\\DIS3D")],
)
def test_of_images_stored_in_two_versions_the_corrected_ones_are_read(tmp_path, caplog, worse, better):
    write_dicom_series(tmp_path / "a", IMAGES + 7, t00080008=f"ORIGINAL\\PRIMARY\\{worse}", t0020000e="1.2.3.1")
    write_dicom_series(tmp_path / "b", IMAGES, t00080008=f"ORIGINAL\\PRIMARY\\{better}", t0020000e="1.2.3.2")
    with caplog.at_level(logging.INFO):
        np.testing.assert_array_equal(np.stack(list(open_cine(tmp_path).read_all())), IMAGES)
    assert f"12 x image that is there better corrected (ORIGINAL\\PRIMARY\\{worse})" in caplog.text


def test_two_versions_of_which_neither_is_better_are_refused(tmp_path):
    for letter, kind in zip("ab", ("M\\FIL", "M\\FM"), strict=True):
        write_dicom_series(tmp_path / letter, IMAGES + ord(letter), t00080008=f"ORIGINAL\\PRIMARY\\{kind}")
    with refuses(tmp_path, "slice 0", "M\\FIL (a/IM-0003-0001.dcm)", "M\\FM (b/IM-0003-0001.dcm)", "keep one"):
        open_cine(tmp_path)


def test_a_study_of_phase_images_alone_is_refused(tmp_path):
    add_phase_images(tmp_path)
    with refuses(tmp_path, "no MR image", "12 x phase image"):
        open_cine(tmp_path)


@pytest.mark.parametrize("shift_ms", [0.0, 3.0])
def test_a_whole_second_series_of_the_same_slices_is_refused(folder, shift_ms):
    for frame in range(4):
        for at in range(3):
            own = {"t00181060": 33.5 * frame + shift_ms, "t00200013": 50 + frame, "t0020000e": "1.2.3.5"}
            write_dicom(folder / "b" / f"{frame}{at}", IMAGES[frame, at] + 1, 8.0 * at, **own)
    with refuses(folder, "slice 0 has 8 frames from 2 series", "IM-0003-0001.dcm", "b/00", "keep one series"):
        open_cine(folder)


def test_a_series_a_frame_is_one_cine_where_the_times_are_told(tmp_path):
    for frame in range(4):
        own = {"t0020000e": f"1.2.3.{frame}", "t00200013": 1}
        for at in range(3):
            write_dicom(tmp_path / f"{9 - frame}{at}", IMAGES[frame, at], 8.0 * at, t00181060=33.5 * frame, **own)
    np.testing.assert_array_equal(np.stack(list(open_cine(tmp_path).read_all())), IMAGES)
    for frame in range(4):
        for at in range(3):
            write_dicom(tmp_path / f"{9 - frame}{at}", IMAGES[frame, at], 8.0 * at, t0020000e=f"1.2.3.{frame}")
    with refuses(tmp_path, "4 series"):
        open_cine(tmp_path)


@pytest.mark.parametrize("tags", [{}, {"t00181060": 0}, {"t00200013": 7}, {"t00181060": "late", "t00200013": "first"}])
def test_frames_of_which_nothing_tells_the_order_are_refused(tmp_path, tags):
    none = {"t00181060": None, "t00200013": None}
    write_dicom_series(tmp_path, IMAGES, **(none | tags))
    with refuses(tmp_path, "4 images of slice 0", "neither", "TriggerTime or InstanceNumber"):
        open_cine(tmp_path)


def test_two_images_of_one_moment_are_refused(folder):
    for at in range(3):
        write_dicom(folder / f"again{at}", IMAGES[1, at] + 1, 8.0 * at, t00181060=33.5, t00200013=80)
    with refuses(folder, "slice 0 has two images at 33.5 ms", "IM-0003-0002.dcm", "again0"):
        open_cine(folder)


@pytest.mark.parametrize("aside_mm", [30.0, -2.0, 1.6])
def test_a_slice_that_lies_aside_in_its_own_plane_is_refused(tmp_path, aside_mm):
    for at in range(5):
        write_dicom(tmp_path / f"{at}.dcm", IMAGES[0, 0] + at, 8.0 * at, aside_mm if at == 3 else 0.0)
    with refuses(tmp_path, f"3.dcm lies {abs(aside_mm):.1f} mm aside"):
        open_cine(tmp_path)


def test_slices_within_a_pixel_of_one_another_are_one_stack(tmp_path):
    for at in range(5):
        write_dicom(tmp_path / f"{at}.dcm", IMAGES[0, 0] + at, 8.0 * at, 0.4 * (-1) ** at)
    assert open_cine(tmp_path).shape == (5, 40, 48)


def test_a_file_that_may_not_be_opened_is_said_to_be_that(folder, monkeypatch):
    path = folder / "IM-0003-0005.dcm"
    real = Path.open

    def refuse(self, *arguments, **named):
        if self == path:
            raise PermissionError(13, "Permission denied")
        return real(self, *arguments, **named)

    monkeypatch.setattr(Path, "open", refuse)
    with refuses(folder, "slice 1 has 3 frames", "1 x file that cannot be opened (Permission denied)"):
        open_cine(folder)
