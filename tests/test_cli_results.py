"""What can be made of a finished run from the command line: comparisons, reader studies, releases, scores."""

import json
import shutil
from pathlib import Path

import pytest
from toy_hearts import SPACING_MM, toy_image, toy_mask

from cmrfed.config import read_stage_json
from cmrfed.reader_study import PlausibilityKey, StudyKey
from cmrfed.volumes import write_volume

pytestmark = pytest.mark.usefixtures("few_halves")


@pytest.fixture
def run(run_in_one_line):
    return run_in_one_line


@pytest.fixture(scope="module")
def scored(finished_tiny_run, few_halves, tmp_path_factory) -> Path:
    """A copy of the finished run, scored for fidelity alone."""
    from cmrfed.console import progress_bar
    from cmrfed.runs import Run
    from cmrfed.runs.evaluation import evaluate

    folder = tmp_path_factory.mktemp("scored") / "run"
    shutil.copytree(finished_tiny_run.folder, folder)
    run = Run.open(folder)
    evaluate(run, run.config.evaluation.model_copy(update={"utility": None, "leakage": None}), progress_bar)
    return folder


@pytest.mark.parametrize("command", ["report compare", "reader-study", "reader-study score", "release"])
def test_help_teaches(run, command):
    code, printed = run(*command.split(), "--help")
    assert code == 0
    assert f"cmrfed {command}" in printed
    assert "Any key can be set" in printed


def test_a_reader_study_is_made_read_and_scored(run, scored, tmp_path):
    code, printed = run("reader-study", f"run={scored}", f"out={tmp_path / 'study'}")
    assert code == 0
    assert "keep it from readers" in printed
    key = read_stage_json(StudyKey, tmp_path / "study" / "key.json")
    said = {name: {"synthetic": True, "confidence": 1, "seconds": 2.0} for name in key.items}
    answers = tmp_path / "answers, one.json"
    answers.write_text(json.dumps({"study": key.study, "reader": "[red]A[/red]", "answers": said}))
    renamed = answers.rename(tmp_path / "a=1.json")
    code, printed = run("reader-study", "score", f"key={tmp_path / 'study' / 'key.json'}", f"answers={renamed}")
    assert code == 0
    assert "[red]A" in printed
    assert "0.50" in printed
    assert "Not told apart better than by chance" in printed


FEW = [
    "mode=plausibility", "plausibility.hearts=4", "plausibility.orderings=1", "plausibility.severities=[0,1]",
    "sampling.steps=1",
]  # fmt: skip


def test_a_review_of_plausibility_is_made_read_and_scored(run, finished_tiny_run, tmp_path):
    code, printed = run("reader-study", f"run={finished_tiny_run.folder}", "out=review", *FEW)
    assert code == 0, printed
    assert "4 hearts to rate, 1 people's to put in order" in printed
    assert {path.name for path in (tmp_path / "review").iterdir()} == {"plausibility.html", "key.json", "README.md"}
    key = read_stage_json(PlausibilityKey, tmp_path / "review" / "key.json")
    assert sum(one.synthetic for one in key.hearts.values()) == 2
    rating = {"motion": 4, "artefact": "none", "seconds": 2.0}
    ratings = {
        name: rating | {"anatomy": 2 if one.synthetic else 5, "note": "odd [red]wall[/red]" if one.synthetic else ""}
        for name, one in key.hearts.items()
    }
    ((name, truth),) = key.orderings.items()
    given = {name: {"order": sorted(truth.severities, key=truth.severities.__getitem__), "seconds": 9.0}}
    answers = {"study": key.study, "reader": "A", "ratings": ratings, "orderings": given}
    (tmp_path / "a.json").write_text(json.dumps(answers))
    code, printed = run("reader-study", "score", "key=review/key.json", "a.json", "out=scores.json")
    assert code == 0, printed
    assert "1.00" in printed and "-3.00" in printed and "odd [red]wall[/red]" in printed
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert scores["pooled"]["tau_b"] == {"mean": 1.0, "ci95": None}
    assert scores["pooled"]["anatomy"]["cliffs_delta"]["mean"] == -1
    (tmp_path / "a.json").write_text(json.dumps(answers | {"orderings": {name: {"order": ["x"], "seconds": 1.0}}}))
    code, printed = run("reader-study", "score", "key=review/key.json", "a.json")
    assert code == 2 and f"a.json: orderings.{name}: order must name" in printed


def test_a_review_needs_no_patient(run, finished_tiny_run, tmp_path):
    model = finished_tiny_run.folder / "model.safetensors"
    words = [
        "model=" + str(model),
        "out=review",
        "mode=plausibility",
        "plausibility.hearts=2",
        "plausibility.orderings=0",
    ]
    code, printed = run("reader-study", *words)
    assert code == 0, printed
    assert "images of patients" not in (tmp_path / "review" / "plausibility.html").read_text()
    key = read_stage_json(PlausibilityKey, tmp_path / "review" / "key.json")
    assert all(one.synthetic for one in key.hearts.values())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["model=foundation"], "model: goes with mode=plausibility"),
        (["model=foundation", "mode=plausibility", "arm=private"], "arm: goes with run="),
    ],
)
def test_a_study_of_what_does_not_go_together_is_refused(run, words, said):
    code, printed = run("reader-study", "out=study", *words)
    assert code == 2 and said in printed


def test_an_arm_that_the_run_does_not_have_is_refused_with_those_it_has(run, scored):
    code, printed = run("reader-study", f"run={scored}", "out=study", "arm=external")
    assert code == 2
    assert "'external'" in printed
    assert "epsilon_0, private, non_private" in printed


def test_runs_are_compared_in_one_page(run, scored, tmp_path):
    code, _ = run("report", "compare", f"run={scored},{scored}", "out=both.html")
    assert code == 0
    assert "2 runs side by side" in (tmp_path / "both.html").read_text()


def test_a_seeded_run_is_not_released(run, scored, tmp_path):
    code, printed = run("release", f"run={scored}", "out=release")
    assert code == 2
    assert "noise came from a seed" in printed
    assert "the loss attack was not run" in printed
    assert not (tmp_path / "release").exists()


def test_somebody_elses_images_are_scored_against_a_runs_patients(run, scored, tmp_path):
    for number in range(3):
        mask = toy_mask(scale=1 - 0.1 * number)
        write_volume(tmp_path / "made" / f"{number}_gt.nii.gz", mask, SPACING_MM)
        write_volume(tmp_path / "made" / f"{number}.nii.gz", toy_image(mask, number), SPACING_MM)
    code, printed = run(
        "evaluate", f"images={tmp_path / 'made'}", f"run={scored}", "out=scores", "evaluation.utility=null",
        "evaluation.leakage=null", "evaluation.fidelity.slices=10", "evaluation.fidelity.segmenter_steps=2",
        "evaluation.bootstrap=100",
    )  # fmt: skip
    assert code == 0, printed
    assert json.loads((tmp_path / "scores" / "latest" / "results.json").read_text())["arm"] == "external"
    assert (tmp_path / "scores" / "latest" / "report.html").exists()


def test_a_list_of_members_without_data_is_refused(run, scored):
    code, printed = run("evaluate", "images=made", f"run={scored}", "members=m.txt")
    assert code == 2
    assert "members: goes with data=NAME" in printed
