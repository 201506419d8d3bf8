import numpy as np
import pytest
from dataset_contract import LabelledContract
from layouts import save_labels, save_scaled
from refusals import refuses
from toy_hearts import toy_image, toy_mask

from cmrfed.datasets import find_entries, recognise
from cmrfed.volumes import load_case


def write_pair(stem, seed=0):
    mask = toy_mask()
    stem.parent.mkdir(exist_ok=True)
    save_scaled(stem.with_name(f"{stem.name}.nii.gz"), toy_image(mask, seed).T)
    save_labels(stem.with_name(f"{stem.name}_gt.nii.gz"), mask.T)


@pytest.fixture
def root(tmp_path):
    write_pair(tmp_path / "a")
    write_pair(tmp_path / "Philips" / "b", seed=1)
    (tmp_path / "notes.txt").write_text("made by a diffusion model")
    return tmp_path


class TestPairs(LabelledContract):
    name, patients, phases = "pairs", 2, ("unknown",)


def test_a_folder_named_like_a_vendor_says_the_vendor_and_any_other_says_nothing(root):
    write_pair(root / "second_batch" / "c")
    found = {entry.patient: entry.vendor for entry in find_entries("pairs", root)}
    assert found == {"pairs-a": "unknown", "pairs-Philips/b": "Philips", "pairs-second_batch/c": "unknown"}


def test_the_mask_of_a_pair_is_read_with_it(root):
    np.testing.assert_array_equal(load_case(find_entries("pairs", root)[0]).mask, toy_mask())


@pytest.mark.parametrize(("removed", "missing"), [("a.nii.gz", "image"), ("a_gt.nii.gz", "mask")])
def test_half_a_pair_is_refused_by_name(root, removed, missing):
    (root / removed).unlink()
    with refuses(root, f"its {missing}"):
        find_entries("pairs", root)


def test_pictures_without_a_pixel_size_are_refused_with_a_hint(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    with refuses("a.png", "NIfTI"):
        find_entries("pairs", tmp_path)


def test_pairs_are_told_from_unlabelled_cines(root):
    assert recognise(root) == ["pairs"]
    for mask in root.rglob("*_gt.nii.gz"):
        mask.unlink()
    assert recognise(root) == ["cine"]
