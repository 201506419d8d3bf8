"""What holds of every layout: whoever finds a file knows what it is, and nothing of anybody's is written over."""

import hashlib
import json

import pytest
from laid_out import GENERATOR, drawn_in, write_masks
from refusals import refuses
from toy_hearts import SPACING_MM, toy_mask

from cmrfed.generators import build_generator
from cmrfed.layouts import Asked
from cmrfed.members import LAYOUTS
from cmrfed.updates import read_weights
from cmrfed.volumes import notes_of, write_volume

OUT = "Dataset501_Hearts"
"""As nnU-Net needs it, and all others take it."""


@pytest.fixture
def masks(tmp_path):
    write_masks(tmp_path / "masks")
    return tmp_path / "masks"


@pytest.mark.parametrize("grid", ["input", "model"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_nifti_file_says_that_it_is_synthetic_and_of_which_generator(layout, grid, masks, tmp_path, monkeypatch):
    out = tmp_path / OUT
    written, made_by = drawn_in(layout, masks, out, monkeypatch, grid=grid)
    assert len(written) == 3
    paths = list(out.rglob("*.nii.gz"))
    seen = list[bool | None]()
    for path in paths:
        (note,) = notes_of(path)
        told = json.loads(note)
        assert told in (made_by.facts, made_by.mask_facts)
        seen.append(told["Synthetic"])
    assert seen.count(None) == 3, "of a mask that was given nobody knows"
    assert {*seen} <= {True, None} and made_by.facts["Model"] == "model.safetensors"


def test_a_generators_hash_is_that_of_its_weights_by_name(masks, tmp_path, monkeypatch):
    """As docs/export.md tells how to check it."""
    _, made_by = drawn_in("pairs", masks, tmp_path / "out", monkeypatch)
    weights = read_weights(build_generator(GENERATOR, seed=0))
    found = hashlib.sha256()
    for name in sorted(weights):
        found.update(name.encode() + weights[name].tobytes())
    assert made_by.generator_sha256 == found.hexdigest()


def test_masks_of_simulated_hearts_are_known_as_synthetic(masks, tmp_path, monkeypatch):
    _, made_by = drawn_in("pairs", masks, tmp_path / "out", monkeypatch, simulated=True)
    assert json.loads(notes_of(tmp_path / "out" / "heart0_ED_gt.nii.gz")[0]) == made_by.facts


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "pairs"])
def test_a_data_set_is_written_into_a_new_folder_and_explains_itself(layout, masks, tmp_path, monkeypatch):
    (tmp_path / OUT).mkdir()
    (tmp_path / OUT / "theirs").write_text("theirs")
    with refuses("out:", "is not empty", "theirs"):
        drawn_in(layout, masks, tmp_path / OUT, monkeypatch)
    assert [path.name for path in (tmp_path / OUT).iterdir()] == ["theirs"]
    (tmp_path / OUT / "theirs").unlink()
    _, made_by = drawn_in(layout, masks, tmp_path / OUT, monkeypatch)
    assert made_by.sentence in (tmp_path / OUT / "README.md").read_text()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_vendor_and_phase_of_a_mask_is_a_pair_of_its_own(layout, masks, tmp_path, monkeypatch):
    looks = {"vendors": ("GE", "Canon"), "phases": ("ED", "ES")}
    written, _ = drawn_in(layout, masks / "p 1", tmp_path / OUT, monkeypatch, **looks)
    assert len({path for one in written for path in one.files}) == 8
    assert all(path.exists() for one in written for path in one.files)


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "pairs"])
def test_masks_whose_names_become_one_are_refused(layout, tmp_path, monkeypatch):
    for name in ("a b", "a.b"):
        write_volume(tmp_path / "masks" / f"{name}.nii.gz", toy_mask(), SPACING_MM)
    with refuses("both would be written to"):
        drawn_in(layout, tmp_path / "masks", tmp_path / OUT, monkeypatch)
    assert not (tmp_path / OUT).exists()


@pytest.mark.parametrize(
    ("name", "phase", "heart", "moment"),
    [
        ("heart0000_ED", "ED", "heart0000", "ED"),
        ("heart0000_ED", "unknown", "heart0000", "ED"),
        ("p1/x_sa_frame07", "ES", "p1/x_sa", "frame07ES"),
        ("patient001", "ES", "patient001", "ES"),
        ("patient001", "unknown", "patient001", ""),
        ("_ED", "unknown", "_ED", ""),
        ("RED", "unknown", "RED", ""),
    ],
)
def test_moments_of_one_heart_are_told_from_hearts(name, phase, heart, moment):
    asked = Asked(name, known={"phase": phase})
    assert (asked.heart, asked.moment) == (heart, moment)
