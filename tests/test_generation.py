"""What is drawn lies on its mask, nothing of anybody's is lost, and what is not drawn is said."""

from collections import namedtuple
from dataclasses import replace
from typing import get_args

import nibabel as nib
import numpy as np
import pytest
from refusals import refuses
from toy_hearts import SPACING_MM, toy_mask

from cmrfed import generation
from cmrfed.cli.stages import Generate
from cmrfed.conditions import UNLABELLED
from cmrfed.config import PreprocessingConfig, SamplingConfig
from cmrfed.generation import LABEL_TABLES, Order, draw_cases, plan_cases
from cmrfed.generators import build_generator
from cmrfed.shapes import STRUCTURES, Label
from cmrfed.volumes import read_volume, write_volume

GRID = PreprocessingConfig(size=32, field_of_view_mm=64)
ACDC = np.array([0, 3, 2, 1], np.uint8)
"""ACDC's number of each label."""


@pytest.fixture
def order(tmp_path):
    (tmp_path / "masks").mkdir()
    return Order(masks=tmp_path / "masks", out=tmp_path / "out")


@pytest.fixture
def drawn(monkeypatch, tiny_generator_config):
    """Draws an order with a generator that paints the LV white and all else black; returns how what was not drawn."""

    def paint(generator, slices, *_, **__):
        return replace(slices, images=np.where(slices.masks == Label.LV, 1, -1).astype(np.float32))

    monkeypatch.setattr(generation, "synthesise", paint)

    def draw(order, grid=GRID):
        plan = plan_cases(order, grid)
        draw_cases(build_generator(tiny_generator_config, seed=0), plan, SamplingConfig())
        return {what: count for what, count in plan.not_drawn.items() if count}

    return draw


def names(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def stored(path, mask, affine):
    """A mask (slice, row, column) as a file with that affine."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(np.ascontiguousarray(mask.T), affine), path)


@pytest.mark.parametrize("flips", [(1, 1), (-1, 1), (1, -1), (-1, -1)])
@pytest.mark.parametrize("swapped", [False, True])
def test_images_lie_on_their_masks_own_voxels_whichever_way_these_are_stored(order, drawn, flips, swapped):
    affine = np.diag([flips[0] * 1.25, flips[1] * 1.5, 8.0, 1.0])
    affine[:3, 3] = 11, -22, 33
    affine[:, [0, 1]] = affine[:, [1, 0]] if swapped else affine[:, [0, 1]]
    stored(order.masks / "a_gt.nii.gz", toy_mask(), affine)
    assert drawn(order) == {}
    mask, image, truth = (nib.load(order.masks / "a_gt.nii.gz"), *(nib.load(order.out / name) for name in PAIR))
    np.testing.assert_array_equal(np.asarray(truth.dataobj), np.asarray(mask.dataobj))
    for written in (image, truth):
        np.testing.assert_array_equal(written.affine, mask.affine)
        assert written.shape == mask.shape
        assert written.header.get_zooms() == mask.header.get_zooms()
    bright, lv = image.get_fdata() > 0.5, np.asarray(mask.dataobj) == Label.LV
    assert 2 * np.sum(bright & lv) / (bright.sum() + lv.sum()) > 0.9
    assert image.get_fdata().min() >= 0 and image.get_fdata().max() <= 1


def test_masks_whose_slice_axis_comes_first_get_images_stored_alike(order, drawn):
    affine = np.array([[0.0, -1.0, 0, 0], [0, 0, -1.25, 0], [8, 0, 0, 0], [0, 0, 0, 1]])
    mask = nib.Nifti1Image(np.ascontiguousarray(toy_mask().transpose(0, 2, 1)), affine)
    nib.save(mask, order.masks / "a_gt.nii.gz")
    drawn(order)
    image, truth = (nib.load(order.out / name) for name in PAIR)
    np.testing.assert_array_equal(np.asarray(truth.dataobj), np.asarray(mask.dataobj))
    bright, lv = image.get_fdata() > 0.5, np.asarray(mask.dataobj) == Label.LV
    assert 2 * np.sum(bright & lv) / (bright.sum() + lv.sum()) > 0.9


PAIR = ("a.nii.gz", "a_gt.nii.gz")


def test_the_generators_own_grid_is_given_where_it_is_asked_for(order, drawn):
    write_volume(order.masks / "a.nii.gz", toy_mask(), SPACING_MM)
    assert drawn(replace(order, grid="model")) == {}
    for name in PAIR:
        volume, spacing_mm = read_volume(order.out / name)
        assert volume.shape == (3, 32, 32)
        assert spacing_mm == (8.0, 2.0, 2.0)


def test_slices_that_are_not_drawn_are_blank_and_counted(order, drawn):
    mask = np.zeros((6, 120, 120), np.uint8)
    mask[1:3, 40:80, 36:84] = toy_mask(slices=2)
    mask[3, 40, 36] = Label.RV  # smaller than a pixel of the generator's grid
    mask[4, 60, 2], mask[4, 60, 118] = Label.RV, Label.RV  # beyond the field of view on either side
    mask[2, 60, 5] = Label.MYO
    write_volume(order.masks / "a.nii.gz", mask, SPACING_MM)
    assert drawn(order) == {
        "slices without labels": 2,
        "slices whose labels fill no pixel of the generator's grid": 1,
        "slices whose labels lie outside the 64 mm around the heart": 1,
        "labelled parts of slices beyond the 64 mm around the heart": 1,
    }
    image, truth = (read_volume(order.out / name)[0] for name in PAIR)
    assert [plane.any() for plane in image] == [False, True, True, False, False, False]
    np.testing.assert_array_equal(truth, mask)


def test_slices_that_the_generator_never_learnt_are_counted(order, drawn):
    write_volume(order.masks / "a.nii.gz", toy_mask(slices=5), SPACING_MM)
    ((what, count),) = drawn(order, GRID.model_copy(update={"central_slices": 3})).items()
    assert "beyond the 3 central ones" in what
    assert count == 2


def test_unlabelled_voxels_are_legal_and_stay_unlabelled(order, drawn):
    mask = toy_mask()
    mask[:, :4] = UNLABELLED
    write_volume(order.masks / "a.nii.gz", mask, SPACING_MM)
    drawn(order)
    np.testing.assert_array_equal(read_volume(order.out / "a_gt.nii.gz")[0], mask)


def test_nested_folders_keep_their_structure_and_images_beside_masks_are_left_alone(order, drawn):
    for patient in ("p1", "p2/visit"):
        (order.masks / patient).mkdir(parents=True)
        write_volume(order.masks / patient / "x_sa_gt.nii.gz", toy_mask(), SPACING_MM)
        write_volume(order.masks / patient / "x_sa.nii.gz", 50.5 * toy_mask().astype(np.float32), SPACING_MM)
    assert drawn(order) == {"images beside masks that are named NAME_gt": 2}
    pairs = {f"{patient}/x_sa{end}.nii.gz" for patient in ("p1", "p2/visit") for end in ("", "_gt")}
    assert names(order.out) == pairs


def cine_mask(labelled, frames=4):
    """A 4-D mask as M&Ms has it: drawn at two moments, background at all others."""
    cine = np.zeros((frames, *toy_mask().shape), np.uint8)
    for frame in labelled:
        cine[frame] = toy_mask(scale=1 - 0.1 * frame)
    return cine


def test_of_a_4d_mask_the_labelled_frames_are_drawn_each_as_a_pair(order, drawn):
    write_volume(order.masks / "a_gt.nii.gz", cine_mask([0, 2]), SPACING_MM)
    assert drawn(order) == {"frames without labels": 2}
    assert names(order.out) == {f"a_frame{frame}{end}.nii.gz" for frame in ("00", "02") for end in ("", "_gt")}
    np.testing.assert_array_equal(read_volume(order.out / "a_frame02_gt.nii.gz")[0], toy_mask(scale=0.8))


def test_frames_of_a_4d_mask_can_be_chosen(order, drawn):
    write_volume(order.masks / "a_gt.nii.gz", cine_mask([0, 2]), SPACING_MM)
    assert drawn(replace(order, frames=(2,))) == {"frames that were not asked for": 3}
    assert names(order.out) == {"a_frame02.nii.gz", "a_frame02_gt.nii.gz"}
    with refuses("frames:", "a_gt.nii.gz", "frames 0 to 3, found 4"):
        plan_cases(replace(order, frames=(0, 4)), GRID)
    with refuses("a_gt.nii.gz", "mask is empty"):
        plan_cases(replace(order, frames=(1,)), GRID)


def test_a_cine_without_any_label_is_refused(order):
    write_volume(order.masks / "a.nii.gz", cine_mask([]), SPACING_MM)
    with refuses("a.nii.gz", "no frame shows a structure"):
        plan_cases(order, GRID)


def test_every_table_can_be_named_at_the_command_line_and_no_other():
    assert get_args(Generate.model_fields["labels"].annotation) == tuple(LABEL_TABLES)


def test_each_table_is_read_as_its_data_set_numbers_it(order, drawn):
    for labels, table in LABEL_TABLES.items():
        folder = order.masks / labels
        folder.mkdir()
        numbers = np.zeros(4, np.int16)
        for number, label in table.items():
            if label != UNLABELLED:
                numbers[label] = number
        nib.save(nib.Nifti1Image(numbers[toy_mask().T], np.diag([-1.25, -1.5, 8, 1])), folder / "a.nii.gz")
        drawn(replace(order, masks=folder, labels=labels, out=order.out / labels))
        np.testing.assert_array_equal(read_volume(order.out / labels / "a_gt.nii.gz")[0], toy_mask())
        assert table[255] == UNLABELLED


def test_masks_that_contradict_their_table_are_refused_with_the_one_that_fits(order):
    write_volume(order.masks / "a.nii.gz", ACDC[toy_mask()], SPACING_MM)
    with refuses("a.nii.gz", "labels=cmrfed", "100% of the RV's edge", "labels=acdc fits"):
        plan_cases(order, GRID)
    plan_cases(replace(order, labels="acdc"), GRID)
    write_volume(order.masks / "a.nii.gz", toy_mask(), SPACING_MM)
    with refuses("a.nii.gz", "labels=acdc", "labels=cmrfed fits"):
        plan_cases(replace(order, labels="acdc"), GRID)


def test_a_ring_called_lv_is_refused_though_no_table_explains_it(order):
    write_volume(order.masks / "a.nii.gz", np.array([0, 2, 1, 3], np.uint8)[toy_mask()], SPACING_MM)
    with refuses("a.nii.gz", "of the LV's edge", "correct the segmentation"):
        plan_cases(order, GRID)


@pytest.mark.parametrize("structures", [{Label.LV}, {Label.RV}, {Label.LV, Label.MYO}, set(STRUCTURES)])
def test_masks_of_some_structures_alone_are_taken(order, structures):
    write_volume(order.masks / "a.nii.gz", np.where(np.isin(toy_mask(), list(structures)), toy_mask(), 0), SPACING_MM)
    plan_cases(order, GRID)


def test_every_vendor_and_phase_that_is_asked_for_is_drawn_in_a_folder_of_its_own(order, drawn):
    write_volume(order.masks / "a.nii.gz", toy_mask(), SPACING_MM)
    drawn(replace(order, vendors=("Siemens", "GE"), phases=("ED", "ES")))
    folders = [f"{vendor}/{phase}" for vendor in ("Siemens", "GE") for phase in ("ED", "ES")]
    assert names(order.out) == {f"{folder}/{name}" for folder in folders for name in PAIR}


def test_a_mask_is_drawn_alike_whatever_lies_beside_it(order, tiny_generator_config):
    def images(order):
        draw_cases(build_generator(tiny_generator_config, seed=0), plan_cases(order, GRID), SamplingConfig(steps=1))
        return (order.out / "b.nii.gz").read_bytes()[20:]  # after gzip's time

    write_volume(order.masks / "b.nii.gz", toy_mask(), SPACING_MM)
    alone = images(order)
    write_volume(order.masks / "a.nii.gz", toy_mask(), SPACING_MM)
    assert images(replace(order, out=order.out / "both")) == alone
    assert images(replace(order, out=order.out / "other", seed=1)) != alone


@pytest.mark.parametrize("files", [("a.nii", "a.nii.gz"), ("a.nii.gz", "a_gt.nii.gz"), ("a_gt.nii", "a_gt_gt.nii.gz")])
def test_two_masks_that_would_be_written_to_one_place_are_refused(order, files):
    for name in files:
        write_volume(order.masks / name, toy_mask(), SPACING_MM)
    with refuses(*files, "both would be written to"):
        plan_cases(order, GRID)
    assert not order.out.exists()


@pytest.mark.parametrize("out", ["masks", "masks/below", "masks/../masks"])
def test_nothing_is_written_among_the_masks(order, tmp_path, out):
    write_volume(order.masks / "a_gt.nii.gz", toy_mask(), SPACING_MM)
    with refuses("out:", "lies among the masks"):
        plan_cases(replace(order, out=tmp_path / out), GRID)
    assert names(order.masks) == {"a_gt.nii.gz"}


def test_real_images_are_never_written_over(order, tmp_path):
    write_volume(order.masks / "a_gt.nii.gz", toy_mask(), SPACING_MM)
    write_volume(tmp_path / "images" / "a.nii.gz", toy_mask(), SPACING_MM)
    before = (tmp_path / "images" / "a.nii.gz").read_bytes()
    with refuses("out:", tmp_path / "images" / "a.nii.gz", "is not overwritten"):
        plan_cases(replace(order, out=tmp_path / "images"), GRID)
    assert (tmp_path / "images" / "a.nii.gz").read_bytes() == before
    assert names(tmp_path / "images") == {"a.nii.gz"}


def test_what_an_earlier_call_wrote_is_written_anew_unless_a_person_changed_it(order, drawn):
    write_volume(order.masks / "a.nii.gz", toy_mask(), SPACING_MM)
    drawn(order)
    drawn(replace(order, seed=1))
    written = nib.load(order.out / "a_gt.nii.gz")
    nib.save(
        nib.Nifti1Image(np.zeros(written.shape, np.uint8), written.affine, written.header), order.out / "a_gt.nii.gz"
    )
    with refuses("a_gt.nii.gz", "is not overwritten"):
        plan_cases(order, GRID)


def test_a_disk_without_room_for_all_is_refused_before_anything_is_drawn(order, monkeypatch):
    mask = np.zeros((12, 640, 640), np.uint8)  # 25 MB of image and mask
    mask[:, 300:340, 300:348] = toy_mask(slices=12)
    write_volume(order.masks / "a.nii.gz", mask, SPACING_MM)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(2**40, 0, 40 * 10**6))
    plan_cases(order, GRID)
    with refuses("out:", "needs up to 47 MiB", "has 38 MiB free"):
        plan_cases(replace(order, vendors=("GE", "Canon")), GRID)
    assert not order.out.exists()


def test_a_folder_without_masks_is_refused(order):
    with refuses(order.masks, "holds no .nii"):
        plan_cases(order, GRID)


def test_moments_of_one_heart_begin_from_what_is_theirs_together_and_other_hearts_from_their_own(
    order, monkeypatch, tiny_generator_config
):
    for name in ("a_ED", "a_ES", "b_ED"):
        stored(order.masks / f"{name}.nii.gz", toy_mask(), np.eye(4))
    seeds = []

    def paint(generator, slices, sampling, seed, *, heart_seed):
        seeds.append((seed, heart_seed))
        return slices

    monkeypatch.setattr(generation, "synthesise", paint)
    generator = build_generator(tiny_generator_config, seed=0)
    draw_cases(generator, plan_cases(order, GRID), SamplingConfig())
    (a_ed, a_heart), (a_es, same_heart), (b_ed, b_heart) = seeds
    assert a_heart == same_heart != b_heart
    assert len({a_ed, a_es, b_ed, a_heart, b_heart}) == 5, "no noise is drawn twice from one seed"
