"""Scores of images that somebody else made."""

import json
from dataclasses import replace

import numpy as np
import pytest
from refusals import refuses
from toy_hearts import SPACING_MM, toy_case, toy_image, toy_mask

from cmrfed.config import DataConfig, EvaluationConfig, PreprocessingConfig, RunConfig, read_stage
from cmrfed.console import progress_bar
from cmrfed.preprocessing import prepare
from cmrfed.privacy import NoPrivacy
from cmrfed.report import write_report
from cmrfed.runs import Run
from cmrfed.runs.evaluation import evaluate
from cmrfed.runs.outside_images import Reference, lay_out_folder
from cmrfed.slices import collect
from cmrfed.volumes import write_volume

pytestmark = pytest.mark.usefixtures("few_halves")

PREPROCESSING = PreprocessingConfig(size=16)
EVALUATION = read_stage(
    EvaluationConfig,
    {
        "fidelity": {"slices": 10, "segmenter_steps": 2},
        "utility": {"slices": 10, "steps": 2},
        "leakage": {"attacks": None},
        "bootstrap": 100,
    },
)
CONFIG = RunConfig(
    data=DataConfig(root=".", sources={"pairs": "real"}), preprocessing=PREPROCESSING, evaluation=EVALUATION
)


def write_pairs(folder, count):
    for number in range(count):
        mask = toy_mask(scale=1 - 0.05 * number)
        write_volume(folder / f"p{number}_gt.nii.gz", mask, SPACING_MM)
        write_volume(folder / f"p{number}.nii.gz", toy_image(mask, number).astype(np.float32), SPACING_MM)
    return folder


@pytest.fixture(scope="module")
def reference() -> Reference:
    train, held_out = (
        collect(
            prepare(toy_case(f"{part}{n}", phase, seed=n), PREPROCESSING) for n in range(4) for phase in ("ED", "ES")
        )
        for part in ("member", "other")
    )
    return Reference(train, held_out, CONFIG)


@pytest.fixture(scope="module")
def run(reference, tmp_path_factory) -> Run:
    folder = tmp_path_factory.mktemp("outside")
    return lay_out_folder(write_pairs(folder / "images", 3), reference, folder / "runs", progress_bar)


def test_a_folder_of_pairs_is_scored_like_a_run_and_reported(run):
    results = evaluate(Run.open(run.folder), EVALUATION, progress_bar).plain()
    assert json.loads((run.folder / "results.json").read_text()) == results
    assert results["arm"] == "external"
    assert results["fidelity"]["fid"] > 0
    assert {"real", "synthetic", "mixed"} <= results["utility"].keys()
    text = write_report(run, None).read_text()
    assert "made elsewhere" in text
    assert "is taken on trust" in text


def test_the_record_names_the_folder_and_claims_no_privacy(run):
    assert run.record.images.endswith("images")
    assert run.record.plan == NoPrivacy()
    assert run.main_arm() == "external"


def test_nothing_is_left_behind_when_the_images_cannot_be_used(reference, tmp_path):
    images = write_pairs(tmp_path / "images", 2)
    (images / "p0_gt.nii.gz").write_bytes(b"not an image")
    with refuses("p0_gt.nii.gz"):
        lay_out_folder(images, reference, tmp_path / "runs", progress_bar)
    assert [path for path in (tmp_path / "runs").iterdir() if path.name != "latest"] == []


def members(tmp_path, text):
    path = tmp_path / "members.txt"
    path.write_text(text)
    data = DataConfig(root=str(write_pairs(tmp_path / "real", 4)), sources={"pairs": "."})
    config = CONFIG.model_copy(update={"data": data})
    return Reference.of_data(config, path, tmp_path / "runs", progress_bar)


def test_patients_that_are_named_were_trained_on_and_the_others_were_not(tmp_path):
    found = members(tmp_path, "p1\npairs-p3\n\n")
    assert found.members_known
    assert found.train.patient_names == ("pairs-p1", "pairs-p3")
    assert found.held_out.patient_names == ("pairs-p0", "pairs-p2")


@pytest.mark.parametrize(
    ("text", "said"),
    [("p9\n", "'p9' is no patient"), ("\n", "names nobody"), ("p0\np1\np2\np3", "names every patient")],
)
def test_a_list_of_members_that_cannot_be_right_is_refused(tmp_path, text, said):
    with refuses("members.txt", said):
        members(tmp_path, text)


def test_no_membership_is_attacked_that_nobody_knows(reference, tmp_path):
    unknown = replace(reference, members_known=False)
    run = lay_out_folder(write_pairs(tmp_path / "images", 3), unknown, tmp_path / "runs", progress_bar)
    results = evaluate(Run.open(run.folder), EVALUATION, progress_bar).plain()
    assert results["leakage"] == {}
    assert results["audits"]["copies"]["pixels"]["images"] > 0
    assert set(results["audits"]["left_out"].values()) == {"it is not known on whom the generator was trained"}
    assert results["composite"] is None
    text = write_report(run, None).read_text()
    assert "evaluate it again with members=FILE" in text
    assert "blind guessing" not in text
    assert "is off" not in text.split("Are images copies?")[0].split("Leakage:")[1]


def test_without_a_list_patients_are_divided_by_the_seed(tmp_path):
    data = DataConfig(root=str(write_pairs(tmp_path / "real", 5)), sources={"pairs": "."})
    config = CONFIG.model_copy(update={"data": data})
    parts = [Reference.of_data(config, None, tmp_path / "runs", progress_bar) for _ in range(2)]
    assert parts[0].train.patient_names == parts[1].train.patient_names
    assert not parts[0].members_known
    assert len(parts[0].held_out.patient_names) == 1
