"""A DICOM series lies where its mask lies, is read back by ITK and by cmrfed, and cannot be taken for a patient's."""

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK
from laid_out import OBLIQUE, drawn_in, write_masks
from toy_hearts import SPACING_MM, toy_mask

from cmrfed.datasets import find_entries
from cmrfed.layouts.dicom import WHITE
from cmrfed.shapes import Label
from cmrfed.volumes import load_case, write_volume


@pytest.fixture
def masks(tmp_path):
    write_masks(tmp_path / "masks")
    return tmp_path / "masks"


def read_by_itk(folder):
    reader = SimpleITK.ImageSeriesReader()
    (series,) = reader.GetGDCMSeriesIDs(str(folder))
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder), series))
    return reader.Execute()


def places(image):
    """Spacing, origin and direction, as ITK has them."""
    return [*image.GetSpacing(), *image.GetOrigin(), *image.GetDirection()]


def in_two_hands():
    """Affines of the oblique plane with its slices towards the one side, and towards the other."""
    return {"along": OBLIQUE, "against": OBLIQUE @ np.diag([1, 1, -1, 1])}


@pytest.mark.parametrize("axes", [(0, 1), (1, 0)])
@pytest.mark.parametrize("flips", [(1, 1), (-1, 1), (1, -1), (-1, -1)])
@pytest.mark.parametrize("side", in_two_hands())
def test_a_series_opens_in_itk_where_its_mask_lies_whichever_way_that_is_stored(
    tmp_path, monkeypatch, side, flips, axes
):
    """Every pixel is asked where it is: bright ones are the LV of the mask that was given."""
    affine = in_two_hands()[side] @ np.diag([*flips, 1, 1])
    affine[:, [0, 1]] = affine[:, list(axes)]
    (tmp_path / "masks").mkdir()
    mask = toy_mask(slices=4)
    mask[0], mask[-1] = toy_mask(1)[0], np.where(toy_mask(1, scale=0.5)[0] == Label.LV, Label.LV, Label.MYO)
    given = np.ascontiguousarray(mask.T if axes == (0, 1) else mask.transpose(1, 2, 0))
    nib.save(nib.Nifti1Image(given, affine), tmp_path / "masks" / "a.nii.gz")
    drawn_in("dicom", tmp_path / "masks", tmp_path / "out", monkeypatch)
    image, truth = read_by_itk(tmp_path / "out" / "images" / "a"), SimpleITK.ReadImage(tmp_path / "masks" / "a.nii.gz")
    assert sorted(image.GetSpacing()) == pytest.approx(sorted(truth.GetSpacing()))
    np.testing.assert_allclose(np.abs(np.linalg.det(np.reshape(image.GetDirection(), (3, 3)))), 1, atol=1e-6)
    seen = SimpleITK.Resample(truth, image, SimpleITK.Transform(), SimpleITK.sitkNearestNeighbor)
    bright = SimpleITK.GetArrayFromImage(image) > WHITE / 2
    lv = SimpleITK.GetArrayFromImage(seen) == Label.LV
    assert lv.sum() == (mask == Label.LV).sum()
    assert 2 * (bright & lv).sum() / (bright.sum() + lv.sum()) > 0.9
    own = SimpleITK.ReadImage(tmp_path / "out" / "masks" / "a.nii.gz")
    np.testing.assert_allclose(places(own), places(image), atol=1e-4)
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(own), SimpleITK.GetArrayFromImage(seen))


def test_on_the_generators_own_grid_spacing_origin_and_direction_are_plain(masks, tmp_path, monkeypatch):
    drawn_in("dicom", masks, tmp_path / "out", monkeypatch, grid="model")
    image = read_by_itk(tmp_path / "out" / "images" / "heart0_ED")
    assert image.GetSpacing() == pytest.approx((2.0, 2.0, 8.0))
    assert image.GetOrigin() == (0, 0, 0) and image.GetDirection() == (1, 0, 0, 0, 1, 0, 0, 0, 1)


def test_a_file_without_an_orientation_gives_the_order_of_a_screen(tmp_path, monkeypatch):
    (tmp_path / "masks").mkdir()
    nib.save(nib.Nifti1Image(toy_mask().T, np.diag([1.25, 1.5, 8, 1])), tmp_path / "masks" / "a.nii.gz")
    drawn_in("dicom", tmp_path / "masks", tmp_path / "out", monkeypatch)
    image = read_by_itk(tmp_path / "out" / "images" / "a")
    assert image.GetDirection() == (1, 0, 0, 0, 1, 0, 0, 0, 1)
    bright, lv = SimpleITK.GetArrayFromImage(image) > WHITE / 2, toy_mask() == Label.LV
    assert 2 * (bright & lv).sum() / (bright.sum() + lv.sum()) > 0.9


@pytest.mark.parametrize("grid", ["input", "model"])
def test_cmrfed_reads_the_folder_as_its_own_image_over_mask(masks, tmp_path, monkeypatch, grid):
    known = {"heart0_ED": {"sex": "F", "age": 61.5, "pathology": "HCM"}}
    drawn_in("dicom", masks, tmp_path / "out", monkeypatch, grid=grid, vendors=("GE", "Siemens"), of_stack=known)
    cases = [load_case(entry) for entry in find_entries("folder", tmp_path / "out")]
    assert len(cases) == 6
    assert {(case.patient, case.vendor, case.phase) for case in cases} == {
        *(("folder-heart0", vendor, phase) for vendor in ("GE", "Siemens") for phase in ("ED", "ES")),
        *(("folder-p-1-x_s-", vendor, "unknown") for vendor in ("GE", "Siemens")),
    }
    for case in cases:
        bright, lv = case.image > WHITE / 2, case.mask == Label.LV
        assert 2 * (bright & lv).sum() / (bright.sum() + lv.sum()) > 0.9
        assert case.image.max() <= WHITE and (grid == "model" or case.spacing_mm == pytest.approx(SPACING_MM))
    assert {case.pathology for case in cases if case.phase == "ED"} == {"HCM"}


def test_no_file_can_be_taken_for_a_patients(masks, tmp_path, monkeypatch):
    _, made_by = drawn_in("dicom", masks, tmp_path / "out", monkeypatch, vendors=("GE",))
    for path in (tmp_path / "out" / "images").rglob("*.dcm"):
        told = pydicom.dcmread(path)
        assert told.ImageType[:2] == ["DERIVED", "SECONDARY"] and told.SyntheticData == "YES"
        assert told.PatientName.family_name == "SYNTHETIC" and told.PatientID.startswith("SYNTHETIC-")
        assert told.PatientIdentityRemoved == "YES" and told.PatientBirthDate == told.StudyDate == ""
        assert told.DerivationDescription == made_by.sentence and made_by.generator_sha256 in made_by.sentence
        assert "GE" not in told.Manufacturer and "SYNTHETIC" in told.SeriesDescription
        assert told.SOPClassUID == pydicom.uid.MRImageStorage


def test_identifiers_are_of_their_own_pixels_and_the_same_whenever_they_are_drawn(masks, tmp_path, monkeypatch):
    def uids(out, **changes):
        drawn_in("dicom", masks, out, monkeypatch, grid="model", **changes)
        found = [pydicom.dcmread(path) for path in sorted((out / "images").rglob("*.dcm"))]
        return [(one.StudyInstanceUID, one.SeriesInstanceUID, one.SOPInstanceUID) for one in found]

    first = uids(tmp_path / "a")
    studies, series, images = (set(column) for column in zip(*first, strict=True))
    assert (len(studies), len(series), len(images)) == (2, 3, len(first)) and len(first) == 10
    assert uids(tmp_path / "b") == first
    assert not {*images} & {one[2] for one in uids(tmp_path / "c", seed=1)}


def test_a_long_name_is_cut_and_stays_one_of_its_own(tmp_path, monkeypatch):
    for end in "ab":
        write_volume(tmp_path / "masks" / f"{'x' * 70}{end}.nii.gz", toy_mask(), SPACING_MM)
    drawn_in("dicom", tmp_path / "masks", tmp_path / "out", monkeypatch)
    names = {str(pydicom.dcmread(path).PatientID) for path in (tmp_path / "out" / "images").rglob("0001.dcm")}
    assert len(names) == 2 and all(len(name) <= 64 for name in names)
    assert len(find_entries("folder", tmp_path / "out")) == 2
