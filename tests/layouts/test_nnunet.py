"""What nnU-Net is given is what nnU-Net's own verification asks for, and its folds share no heart."""

import json
from importlib.util import find_spec

import numpy as np
import pytest
import SimpleITK
from laid_out import drawn_in, write_masks
from refusals import refuses
from toy_hearts import SPACING_MM, toy_mask

from cmrfed.conditions import UNLABELLED
from cmrfed.volumes import write_volume


@pytest.fixture
def masks(tmp_path):
    write_masks(tmp_path / "masks")
    return tmp_path / "masks"


def verify(folder):
    """What nnunetv2.experiment_planning.verify_dataset_integrity holds against a data set, of version 2.8: by itself
    where it is there."""
    if find_spec("nnunetv2"):
        from nnunetv2.experiment_planning.verify_dataset_integrity import verify_dataset_integrity

        verify_dataset_integrity(str(folder), 1)
    told = json.loads((folder / "dataset.json").read_text())
    labels = sorted(told["labels"].values())
    assert labels == list(range(len(labels))) and told["labels"]["background"] == 0
    assert told["labels"].get("ignore", labels[-1]) == labels[-1]
    images, truths = (sorted((folder / name).iterdir()) for name in ("imagesTr", "labelsTr"))
    assert len(images) == told["numTraining"]
    assert [path.name for path in images] == [
        path.name.replace(told["file_ending"], f"_0000{told['file_ending']}") for path in truths
    ]
    assert list(told["channel_names"]) == ["0"]
    for paths in zip(images, truths, strict=True):
        image, truth = map(SimpleITK.ReadImage, map(str, paths))
        assert image.GetSize() == truth.GetSize()
        for place in ("GetSpacing", "GetOrigin", "GetDirection"):
            np.testing.assert_allclose(getattr(image, place)(), getattr(truth, place)())
        assert np.isfinite(SimpleITK.GetArrayFromImage(image)).all()
        assert set(np.unique(SimpleITK.GetArrayFromImage(truth))) <= set(labels)
    return told


@pytest.mark.parametrize("grid", ["input", "model"])
def test_nnunet_accepts_what_is_written(masks, tmp_path, monkeypatch, grid):
    drawn_in("nnunet", masks, tmp_path / "Dataset501_Hearts", monkeypatch, grid=grid)
    told = verify(tmp_path / "Dataset501_Hearts")
    assert told["labels"] == {"background": 0, "LV": 1, "MYO": 2, "RV": 3, "ignore": 4}
    names = {path.name for path in (tmp_path / "Dataset501_Hearts" / "labelsTr").iterdir()}
    assert names == {"heart0_ED.nii.gz", "heart0_ES.nii.gz", "p-1_x_s-.nii.gz"}


def test_what_nobody_has_labelled_is_ignored_and_all_else_keeps_its_label(masks, tmp_path, monkeypatch):
    drawn_in("nnunet", masks, tmp_path / "Dataset501_Hearts", monkeypatch)
    truth = SimpleITK.GetArrayFromImage(
        SimpleITK.ReadImage(tmp_path / "Dataset501_Hearts" / "labelsTr" / "p-1_x_s-.nii.gz")
    )
    given = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(masks / "p 1" / "x_sä_gt.nii.gz"))
    np.testing.assert_array_equal(truth, np.where(given == UNLABELLED, 4, given))


def test_without_unlabelled_voxels_nothing_is_ignored(tmp_path, monkeypatch):
    write_volume(tmp_path / "masks" / "a.nii.gz", toy_mask(), SPACING_MM)
    drawn_in("nnunet", tmp_path / "masks", tmp_path / "Dataset501_Hearts", monkeypatch)
    assert "ignore" not in verify(tmp_path / "Dataset501_Hearts")["labels"]


def test_a_name_by_which_nnunet_would_not_find_it_is_refused(masks, tmp_path, monkeypatch):
    with refuses("out:", "Dataset501_Hearts", "found hearts"):
        drawn_in("nnunet", masks, tmp_path / "hearts", monkeypatch)
    assert not (tmp_path / "hearts").exists()


def test_all_of_a_heart_is_in_one_fold(tmp_path, monkeypatch):
    for heart in range(6):
        for phase in ("ED", "ES"):
            write_volume(tmp_path / "masks" / f"h{heart}_{phase}.nii.gz", toy_mask(), SPACING_MM)
    out = tmp_path / "Dataset501_Hearts"
    drawn_in("nnunet", tmp_path / "masks", out, monkeypatch, grid="model", vendors=("GE", "Canon"))
    folds = json.loads((out / "splits_final.json").read_text())
    cases = {path.name.removesuffix(".nii.gz") for path in (out / "labelsTr").iterdir()}
    hearts = [{case.split("_")[1] for case in fold["val"]} for fold in folds]
    assert len(folds) == 5 and len(cases) == 24
    for fold, own in zip(folds, hearts, strict=True):
        assert own and not own & {case.split("_")[1] for case in fold["train"]}
        assert sorted(fold["train"] + fold["val"]) == sorted(cases)
    assert sorted(heart for own in hearts for heart in own) == sorted({case.split("_")[1] for case in cases})
