"""A run's folder says what of it may leave, and its arms can be found."""

import pytest
from finished_runs import lay_out, results
from refusals import refuses

from cmrfed.runs import Run, prepared_folder


@pytest.fixture
def run(tmp_path):
    return lay_out(tmp_path / "run", results())


def test_its_readme_lets_share_leave_and_nothing_that_epsilon_does_not_cover(run):
    rows = [line.split("|") for line in (run.folder / "README.md").read_text().splitlines() if line.startswith("|")]
    may_leave = {row[1].strip(): row[3].strip() for row in rows[2:]}
    assert may_leave["share/"].startswith("**yes**")
    for stays in ("report.html", "results.json", "run.json", "tensorboard/", "arms/", "sites/", "central/"):
        assert may_leave[stays].lstrip("*").startswith("no")
    assert set(may_leave) > {path.name for path in run.folder.iterdir()} & {"report.html", "results.json", "run.json"}


def test_an_arm_that_is_not_there_is_refused_with_those_that_are(run):
    with refuses("arm:", "'private' is none of this run's", "no arm is finished"):
        run.arm()
    (run.arm_folder("epsilon_0") / "model.safetensors").write_bytes(b"")
    assert run.arm("epsilon_0") == "epsilon_0"
    with refuses("'best'", "choose one of epsilon_0"):
        run.arm("best")


def test_the_runs_own_generator_is_found_where_the_arms_were_left_behind(run):
    (run.folder / "model.safetensors").write_bytes(b"")
    assert run.model() == run.folder / "model.safetensors"
    with refuses("arm:", "'private'"):
        run.model("private")


def test_images_made_elsewhere_have_no_generator(run):
    elsewhere = Run(run.folder, run.record.model_copy(update={"images": "/elsewhere"}))
    with refuses(run.folder, "no generator to draw more"):
        elsewhere.model()


def test_a_readme_of_somebody_elses_is_left_alone(tmp_path):
    (tmp_path / "prepared").mkdir()
    (tmp_path / "prepared" / "README.md").write_text("theirs")
    prepared_folder(tmp_path)
    assert (tmp_path / "prepared" / "README.md").read_text() == "theirs"
