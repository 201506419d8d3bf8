import gzip

import nibabel as nib
import numpy as np
import pytest
from beartype.roar import BeartypeCallHintViolation
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from refusals import refuses
from scipy.spatial.transform import Rotation
from toy_hearts import SPACING_MM, toy_case, toy_image, toy_mask

from cmrfed.config import UserError
from cmrfed.shapes import Label
from cmrfed.volumes import (
    Entry,
    is_written_by,
    load_case,
    read_mask,
    read_volume,
    write_on_grid_of,
    write_volume,
)

LABELS = {label.value: label for label in Label}

LEFT = np.array([-0.8, 0.0, -0.6])
"""Directions of an invented short-axis plane in nibabel's frame (right, anterior, superior)."""
DOWN = np.array([0.0, -1.0, 0.0])
TO_APEX = np.cross(LEFT, DOWN)


def save(path, stored, affine=None, slope=None):
    """Write an array (x, y, slice) as it is, with the affine of a scanner unless told otherwise."""
    affine = np.diag([-1.25, -1.5, 8, 1]) if affine is None else affine
    image = nib.Nifti1Image(stored, affine)
    if slope is not None:
        image.header.set_slope_inter(*slope)
    nib.save(image, path)
    return path


@settings(max_examples=25, deadline=None)
@given(
    volume=array_shapes(min_dims=3, max_dims=3, max_side=6).flatmap(
        lambda shape: st.one_of(
            arrays(np.float32, shape, elements=st.floats(-1e6, 1e6, width=32)), arrays(np.uint8, shape)
        )
    ),
    suffix=st.sampled_from([".nii.gz", ".nii"]),
)
def test_a_written_volume_is_read_back_exactly(tmp_path_factory, volume, suffix):
    path = tmp_path_factory.mktemp("volumes") / f"volume{suffix}"
    write_volume(path, volume, SPACING_MM)
    found, spacing_mm = read_volume(path)
    np.testing.assert_array_equal(found, volume.astype(np.float32))
    assert spacing_mm == SPACING_MM


def test_each_frame_of_a_written_cine_is_read_back_exactly(tmp_path):
    cine = np.stack([toy_image(toy_mask(), seed) for seed in range(3)])
    write_volume(tmp_path / "cine.nii.gz", cine, SPACING_MM)
    for frame in range(3):
        np.testing.assert_array_equal(read_volume(tmp_path / "cine.nii.gz", frame)[0], cine[frame])


def test_a_written_mask_is_read_back_exactly(tmp_path):
    write_volume(tmp_path / "mask.nii.gz", toy_mask(), SPACING_MM)
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.nii.gz", LABELS)[0], toy_mask())


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "volume.nii.gz"
    write_volume(path, toy_mask(), SPACING_MM)
    monkeypatch.setattr(nib, "save", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_volume(path, toy_mask(scale=0.5), SPACING_MM)
    np.testing.assert_array_equal(read_mask(path, LABELS)[0], toy_mask())
    assert list(tmp_path.iterdir()) == [path]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), turned=st.sampled_from(["diagonal", "any", "none"]))
def test_what_is_written_on_a_files_grid_is_read_where_that_file_is(tmp_path_factory, seed, turned):
    """Whichever way the scanner stored it: read, written back and read again, nothing moves."""
    random = np.random.default_rng(seed)
    folder = tmp_path_factory.mktemp("grid")
    axes = Rotation.random(rng=seed).as_matrix() if turned == "any" else np.diag(random.choice([-1, 1], 3))
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = axes @ np.diag([1.25, 1.5, 8]), random.uniform(-99, 99, 3)
    like = save(folder / "like.nii", random.integers(0, 4, (5, 4, 3)).astype(np.uint8), affine)
    if turned == "none":
        like = folder / "without.nii"
        image = nib.Nifti1Image(random.integers(0, 4, (5, 4, 3)).astype(np.uint8), None)
        image.header.set_zooms((1.25, 1.5, 8.0))
        nib.save(image, like)
    mask, _ = read_mask(like, LABELS)
    write_on_grid_of(folder / "same.nii.gz", mask, like)
    same, model = nib.load(folder / "same.nii.gz"), nib.load(like)
    np.testing.assert_array_equal(np.asarray(same.dataobj), np.asarray(model.dataobj))
    np.testing.assert_array_equal(same.affine, model.affine)
    assert same.header.get_zooms() == model.header.get_zooms()
    for code in ("qform_code", "sform_code"):
        assert same.header[code] == model.header[code]


def test_of_the_files_header_nothing_but_its_geometry_is_taken_over(tmp_path):
    image = nib.Nifti1Image(toy_mask().T, np.diag([-1.25, -1.5, 8, 1]))
    image.header["descrip"], image.header["db_name"] = b"Jane Doe", b"P-4711"
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"Jane Doe"))
    nib.save(image, tmp_path / "like.nii")
    write_on_grid_of(tmp_path / "new.nii", toy_mask(), tmp_path / "like.nii")
    assert b"Jane" not in (tmp_path / "new.nii").read_bytes()
    assert b"4711" not in (tmp_path / "new.nii").read_bytes()


def test_a_file_is_its_authors_until_a_voxel_is_changed(tmp_path):
    path = tmp_path / "signed.nii.gz"
    write_volume(path, toy_mask(), SPACING_MM, "cmrfed generate")
    assert is_written_by(path, "cmrfed generate")
    assert not is_written_by(path, "somebody else")
    image = nib.load(path)
    voxels = np.asarray(image.dataobj).copy()
    voxels[0, 0, 0] = 1  # a person corrects the mask, in a tool that keeps the header
    nib.save(nib.Nifti1Image(voxels, image.affine, image.header), path)
    assert not is_written_by(path, "cmrfed generate")
    path.write_bytes(b"no NIfTI")
    assert not is_written_by(path, "cmrfed generate")


def test_a_volume_that_may_not_be_read_is_not_called_damaged(tmp_path, monkeypatch):
    write_volume(tmp_path / "mask.nii.gz", toy_mask(), SPACING_MM)
    denied = PermissionError(13, "Permission denied")
    monkeypatch.setattr(nib, "load", lambda *_, **__: (_ for _ in ()).throw(denied))
    with refuses("mask.nii.gz", "may not read it (Permission denied)"):
        read_volume(tmp_path / "mask.nii.gz")


def test_slope_and_intercept_are_applied(tmp_path):
    image = nib.Nifti1Image(np.full((4, 5, 3), 10, np.uint8), np.diag([-1, -1, 8, 1]))
    path = tmp_path / "scaled.nii.gz"
    nib.save(image, path)
    header = bytearray(gzip.decompress(path.read_bytes()))
    header[112:120] = np.array([2.5, -3.0], np.float32).tobytes()
    path.write_bytes(gzip.compress(header))
    assert (read_volume(path)[0] == 22).all()


@settings(max_examples=50, deadline=None)
@given(
    transpose=st.booleans(),
    flips=st.tuples(st.booleans(), st.booleans()),
    tilt_degrees=st.tuples(*[st.floats(-12, 12)] * 3),
)
def test_however_the_plane_is_stored_it_is_read_as_a_radiologist_sees_it(
    tmp_path_factory, transpose, flips, tilt_degrees
):
    volume = toy_image(toy_mask(slices=2))
    axes = Rotation.from_euler("xyz", tilt_degrees, degrees=True).as_matrix() @ np.stack([LEFT, DOWN, TO_APEX], axis=1)
    affine, stored = np.eye(4), volume.T
    affine[:3, :3] = axes * SPACING_MM[::-1]
    for axis in np.flatnonzero(flips):
        stored, affine[:3, axis] = np.flip(stored, axis), -affine[:3, axis]
    if transpose:
        stored, affine = stored.swapaxes(0, 1), affine[:, [1, 0, 2, 3]]
    found, spacing_mm = read_volume(save(tmp_path_factory.mktemp("planes") / "plane.nii", stored, affine))
    np.testing.assert_array_equal(found, volume)
    assert spacing_mm == pytest.approx(SPACING_MM)


def test_the_third_stored_axis_stays_the_slice_axis_whatever_it_points_along(tmp_path):
    sagittal = np.zeros((4, 4))
    sagittal[:3, :3] = np.array([[0, 0, 8.0], [-1.5, 0, 0], [0, -1.5, 0]])  # slices advance to the right
    sagittal[3, 3] = 1
    found, spacing_mm = read_volume(save(tmp_path / "sagittal.nii", np.zeros((6, 7, 3), np.float32), sagittal))
    assert found.shape[0] == 3
    assert spacing_mm[0] == 8


@pytest.mark.parametrize("affine", [np.diag([1.25, 1.5, 8, 1]), None], ids=["positive diagonal", "no codes"])
def test_a_file_that_knows_no_orientation_keeps_its_pixel_order(tmp_path, affine):
    volume = toy_image(toy_mask())
    image = nib.Nifti1Image(volume.T, affine)
    image.header.set_zooms(SPACING_MM[::-1])
    nib.save(image, tmp_path / "plain.nii")
    np.testing.assert_array_equal(read_volume(tmp_path / "plain.nii")[0], volume)


def save_told_twice(path, stored, affine, pixdim_mm):
    """A file whose pixdim says something else than its affine."""
    content = bytearray(save(path, stored, affine).read_bytes())
    content[80:92] = np.array(pixdim_mm, "<f4").tobytes()
    path.write_bytes(content)
    return path


@settings(max_examples=30, deadline=None)
@given(
    pixdim_mm=st.tuples(*[st.sampled_from([1.0, 1.25, 1.5, 3.0, 8.0, 10.0])] * 3),
    tilt_degrees=st.tuples(*[st.floats(-12, 12)] * 3),
)
def test_the_affine_is_believed_where_pixdim_says_another_spacing(tmp_path_factory, pixdim_mm, tilt_degrees):
    turn = Rotation.from_euler("xyz", tilt_degrees, degrees=True).as_matrix()
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.stack([LEFT, DOWN, TO_APEX], axis=1) * SPACING_MM[::-1]
    volume = toy_image(toy_mask(slices=2))
    path = save_told_twice(tmp_path_factory.mktemp("twice") / "twice.nii", volume.T, affine, pixdim_mm)
    found, spacing_mm = read_volume(path)
    np.testing.assert_array_equal(found, volume)
    assert spacing_mm == pytest.approx(SPACING_MM)


@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, -1, 1)])
@pytest.mark.parametrize("pixdim_mm", [(3, 3, 8), (1, 1, 8), (1.5, 1.25, 8)], ids=["doubled", "lost", "axes swapped"])
def test_a_spacing_without_orientation_is_the_affines_too(tmp_path, pixdim_mm, signs):
    volume = toy_image(toy_mask())
    affine = np.diag([signs[0] * 1.25, signs[1] * 1.5, signs[2] * 8, 1])
    found, spacing_mm = read_volume(save_told_twice(tmp_path / "twice.nii", volume.T, affine, pixdim_mm))
    np.testing.assert_array_equal(found, volume)
    assert spacing_mm == pytest.approx(SPACING_MM)


def test_an_affine_of_1_mm_voxels_is_no_spacing_where_pixdim_has_one(tmp_path):
    path = save_told_twice(tmp_path / "lost.nii", toy_image(toy_mask()).T, np.eye(4), SPACING_MM[::-1])
    found, spacing_mm = read_volume(path)
    assert spacing_mm == pytest.approx(SPACING_MM)
    np.testing.assert_array_equal(found, toy_image(toy_mask()))


def tilted(normal_toward):
    """The affine of a short-axis stack whose normal lies nearest to the world's axis of that number."""
    directions = {0: (0, -1, 0), 1: (-1, 0, 0), 2: (-1, 0, 0)}, {0: (0, 0, -1), 1: (0, 0, -1), 2: (0, -1, 0)}
    turn = Rotation.from_euler("xyz", [9, -7, 5], degrees=True).as_matrix()
    column, row = (turn @ np.array(way[normal_toward], float) for way in directions)
    affine = np.eye(4)
    affine[:3, :3] = np.stack([column * 1.25, row * 1.5, np.cross(column, row) * 8], axis=1)
    return affine


@pytest.mark.parametrize("toward", [0, 1, 2])
@pytest.mark.parametrize("frames", [1, 2])
def test_a_stack_that_was_turned_to_a_standard_orientation_is_read_as_before(tmp_path, toward, frames):
    cine = np.stack([toy_image(toy_mask(), seed) for seed in range(frames)])
    scanned = nib.Nifti1Image(cine.T if frames > 1 else cine[0].T, tilted(toward))
    turned = nib.as_closest_canonical(scanned)
    assert turned.shape[toward] == 3  # the slice axis is now wherever the normal points
    nib.save(scanned, tmp_path / "scanned.nii.gz")
    nib.save(turned, tmp_path / "turned.nii.gz")
    for frame in range(frames):
        asked = frame if frames > 1 else None
        (expected, spacing_mm), (found, found_mm) = (
            read_volume(tmp_path / f"{name}.nii.gz", asked) for name in ("scanned", "turned")
        )
        assert found_mm == pytest.approx(spacing_mm)
        assert found_mm[0] == pytest.approx(8)
        assert any(np.array_equal(found, expected[::step]) for step in (1, -1))


def test_a_mask_that_was_turned_with_its_image_stays_on_it(tmp_path):
    for name, stored in (("image", toy_image(toy_mask())), ("mask", toy_mask())):
        turned = nib.as_closest_canonical(nib.Nifti1Image(stored.T, tilted(0)))
        nib.save(turned, tmp_path / f"{name}.nii")
    case = load_case(Entry(tmp_path / "image.nii", tmp_path / "mask.nii", LABELS, None, "mnms-A", "mnms"))
    assert case.spacing_mm[0] == pytest.approx(8)
    assert case.image[case.mask == Label.LV].mean() > 200 > case.image[case.mask == Label.MYO].mean()


@pytest.mark.parametrize(
    ("shape", "spacing_mm", "words"),
    [
        ((8, 48, 40), (8, 1.25, 1.5), ("axis 1 runs across slices", "no orientation")),
        ((48, 8, 40), (1.25, 8, 1.5), ("axis 2 runs across slices", "no orientation")),
        ((48, 40, 8), (8, 1.25, 1.5), ("spacing is 8 x 1.25 x 1.5 mm but the size 48 x 40 x 8", "cannot be told")),
        ((8, 48, 48), (1, 1, 1), ("48 slices of 8 x 48 voxels",)),
        ((8, 96, 96), (1.5, 1.5, 8), ("96 slices of 8 x 96 voxels",)),
    ],
)
def test_axes_whose_order_cannot_be_told_are_refused(tmp_path, shape, spacing_mm, words):
    path = save(tmp_path / "order.nii", np.zeros(shape, np.float32), np.diag([*spacing_mm, 1.0]))
    with refuses(path, *words, "(x, y, slice)"):
        read_volume(path)


def test_labels_are_translated_by_the_table(tmp_path):
    save(tmp_path / "mask.nii", np.arange(4, dtype=np.uint8).reshape(4, 1, 1))
    acdc = {0: Label.BACKGROUND, 1: Label.RV, 2: Label.MYO, 3: Label.LV}
    assert read_mask(tmp_path / "mask.nii", acdc)[0].ravel().tolist() == [0, Label.RV, Label.MYO, Label.LV]


def test_a_mask_stored_as_floats_is_read_when_they_are_whole(tmp_path):
    write_volume(tmp_path / "mask.nii", toy_mask().astype(np.float32), SPACING_MM)
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.nii", LABELS)[0], toy_mask())


@pytest.mark.parametrize(
    ("stored", "slope"),
    [(toy_mask().astype(np.int16) * 10, 0.1), (toy_mask() * 85, 3 / 255), (toy_mask().astype(np.int32) * 7, 1 / 7)],
)
def test_labels_that_a_slope_made_uneven_are_those_labels(tmp_path, stored, slope):
    path = save(tmp_path / "mask.nii", stored.T)
    content = bytearray(path.read_bytes())
    content[112:120] = np.array([slope, 0], "<f4").tobytes()
    path.write_bytes(content)
    np.testing.assert_array_equal(read_mask(path, LABELS)[0], toy_mask())


@settings(max_examples=30, deadline=None)
@given(away=st.floats(-0.375, 0.375, width=32), kind=st.sampled_from([np.float32, np.float64]))
def test_a_label_within_a_thousandth_of_a_whole_number_is_that_number_and_no_other(tmp_path_factory, away, kind):
    path = save(tmp_path_factory.mktemp("labels") / "mask.nii", toy_mask().T.astype(kind) + kind(away))
    if abs(away) < 0.00099:
        np.testing.assert_array_equal(read_mask(path, LABELS)[0], toy_mask())
    elif abs(away) > 0.00101:
        with refuses(path, "is not an integer"):
            read_mask(path, LABELS)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_a_label_a_thousandth_away_is_refused_and_shown_as_it_is(tmp_path, kind):
    path = save(tmp_path / "mask.nii", np.full((8, 8, 3), 0.999, kind))
    with refuses(path, "label 0.999 is not"):
        read_mask(path, LABELS)


def test_a_missing_file_is_refused(tmp_path):
    with refuses(tmp_path / "none.nii.gz", "no such file"):
        read_volume(tmp_path / "none.nii.gz")


@pytest.mark.parametrize("kept", [0, 20, 300, 2000])
def test_a_truncated_file_is_refused(tmp_path, kept):
    path = tmp_path / "short.nii.gz"
    write_volume(path, toy_image(toy_mask()), SPACING_MM)
    path.write_bytes(path.read_bytes()[:kept])
    with refuses(path):
        read_volume(path)


@pytest.mark.parametrize("name", ["notes.nii.gz", "notes.nii", "notes.txt"])
def test_a_file_that_is_not_nifti_is_refused(tmp_path, name):
    (tmp_path / name).write_text("end diastole is frame 1\n" * 40)
    with refuses(tmp_path / name, "NIfTI"):
        read_volume(tmp_path / name)


def test_another_image_format_is_refused(tmp_path):
    nib.save(nib.MGHImage(np.zeros((4, 4, 4), np.float32), np.eye(4)), tmp_path / "volume.mgz")
    with refuses(tmp_path / "volume.mgz", "MGHImage"):
        read_volume(tmp_path / "volume.mgz")


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 3, 2, 2)])
def test_a_wrong_number_of_axes_is_refused(tmp_path, shape):
    path = save(tmp_path / "axes.nii", np.zeros(shape, np.float32))
    with refuses(path, f"{len(shape)} axes"):
        read_volume(path)


@pytest.mark.parametrize("frame", [-1, 2, 30])
def test_a_frame_out_of_range_is_refused(tmp_path, frame):
    path = save(tmp_path / "cine.nii", np.zeros((8, 8, 3, 2), np.float32))
    with refuses(path, f"frame {frame}", "0 to 1"):
        read_volume(path, frame)


def test_a_cine_without_a_frame_is_refused(tmp_path):
    path = save(tmp_path / "cine.nii", np.zeros((8, 8, 3, 2), np.float32))
    with refuses(path, "2 frames"):
        read_volume(path)


def test_a_frame_of_a_3d_volume_is_refused(tmp_path):
    path = save(tmp_path / "volume.nii", np.zeros((8, 8, 3), np.float32))
    with refuses(path, "frame 1", "3-D"):
        read_volume(path, 1)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("read", [read_volume, lambda path: read_mask(path, LABELS)], ids=["image", "mask"])
def test_voxels_that_are_not_finite_are_refused(tmp_path, value, read):
    stored = np.zeros((8, 8, 3), np.float32)
    stored[4, 4, 1] = value
    path = save(tmp_path / "volume.nii", stored)
    with refuses(path, "1 voxels", "NaN or infinite"):
        read(path)


@pytest.mark.parametrize("spacing_mm", [0.0, -1.5, 0.0015, 1500.0, np.nan])
def test_a_spacing_that_cannot_be_true_is_refused(tmp_path, spacing_mm):
    path = save(tmp_path / "volume.nii", np.zeros((8, 8, 3), np.float32))
    content = bytearray(path.read_bytes())
    content[84:88] = np.float32(spacing_mm).tobytes()  # pixdim[2], the rows
    path.write_bytes(content)
    with refuses(path):
        read_volume(path)


@pytest.mark.parametrize("shape", [(2000, 100, 10), (1000, 1000, 1000, 30), (8, 0, 3)])
def test_a_header_that_claims_an_unbelievable_size_is_refused_unread(tmp_path, shape):
    header = nib.Nifti1Header()
    header.set_data_shape(shape)
    header["magic"], header["vox_offset"] = b"n+1", 352
    path = tmp_path / "bomb.nii.gz"
    path.write_bytes(gzip.compress(header.binaryblock + bytes(4)))
    with refuses(path, "claims"):
        read_volume(path)


def test_voxels_that_are_not_plain_numbers_are_refused(tmp_path):
    path = save(tmp_path / "complex.nii", np.zeros((8, 8, 3), np.complex64))
    with refuses(path, "complex64"):
        read_volume(path)


def test_an_unknown_label_is_refused(tmp_path):
    path = save(tmp_path / "mask.nii", np.full((8, 8, 3), 4, np.uint8))
    with refuses(path, "unknown label 4", "0 BACKGROUND, 1 LV, 2 MYO, 3 RV"):
        read_mask(path, LABELS)


def test_a_label_that_is_not_an_integer_is_refused(tmp_path):
    path = save(tmp_path / "mask.nii", np.full((8, 8, 3), 1.5, np.float32))
    with refuses(path, "label 1.5", "not an integer"):
        read_mask(path, LABELS)


def entry_of(tmp_path, image, mask, mask_affine=None):
    write_volume(tmp_path / "image.nii", image, SPACING_MM)
    mask_path = save(tmp_path / "mask.nii", mask.T, mask_affine)
    return Entry(tmp_path / "image.nii", mask_path, LABELS, None, "mnms-A", "mnms")


def test_an_entry_is_loaded_as_a_case(tmp_path):
    case = load_case(entry_of(tmp_path, toy_image(toy_mask()), toy_mask()))
    np.testing.assert_array_equal(case.image, toy_image(toy_mask()))
    np.testing.assert_array_equal(case.mask, toy_mask())
    assert (case.patient, case.spacing_mm) == ("mnms-A", SPACING_MM)


def test_a_mask_of_another_shape_than_its_image_is_refused(tmp_path):
    with refuses(tmp_path / "mask.nii", "image.nii", "(2, 40, 48)", "(3, 40, 48)"):
        load_case(entry_of(tmp_path, toy_image(toy_mask()), toy_mask(slices=2)))


def test_a_mask_that_lies_the_other_way_round_than_its_image_is_refused(tmp_path):
    with refuses(tmp_path / "mask.nii", "image.nii", "orientation"):
        load_case(entry_of(tmp_path, toy_image(toy_mask()), toy_mask(), np.diag([1.25, -1.5, 8, 1])))


def test_a_case_refuses_arrays_that_do_not_belong_together():
    with pytest.raises((UserError, BeartypeCallHintViolation), match=r"2, ?40, ?48|does not equal .* 2\."):
        toy_case(image=toy_image(toy_mask(slices=2)))
    with refuses("mnms-A ED", "NaN"):
        toy_case(image=np.full((3, 40, 48), np.nan, np.float32))
    with refuses("mnms-A ED", "label 200"):
        toy_case(mask=np.full((3, 40, 48), 200, np.uint8), image=toy_image(toy_mask()))
    with refuses("mnms-A ED", "spacing"):
        toy_case(spacing_mm=(8.0, 0.0, 1.25))
