"""cmrfed finetune: a start that public patients taught, and no run that takes them for private ones."""

from itertools import islice

import numpy as np
import pytest
from interruptions import interrupted_in_step
from tiny_runs import TINY_WORDS, tiny_run_config

from cmrfed.api import open_run
from cmrfed.config import FinetuningConfig, UserError
from cmrfed.federation.start import PUBLIC_SLICES, initial_weights, refuse_public_patients, refuse_unusable_start
from cmrfed.finetuning import _again, finetune, is_finetuned, save_finetuned
from cmrfed.generators.directions import NAME as DIRECTIONS
from cmrfed.report.material import read_material
from cmrfed.runs import prepared_slices
from cmrfed.slices import slice_digests
from cmrfed.updates import load_arrays

TINY = ["data=phantom", *TINY_WORDS[:5], "generator.directions=8", "training.precision=fp32"]
PRIVATE = [*TINY, *TINY_WORDS[9:], "federation.rounds=1", "federation.engine=inprocess", "data.phantom.seed=7"]
FEW = "data.phantom.patients_per_vendor=4"
UNMEASURED = ["evaluation.fidelity=null", "evaluation.utility=null", "evaluation.leakage=null"]
SETTINGS = FinetuningConfig(steps=3, batch_size=4, held_out_fraction=0.4)


@pytest.fixture
def public(cache, monkeypatch):
    """A run's configuration whose patients stand for public ones, and whose start is random weights."""
    monkeypatch.setenv("CMRFED_CACHE", str(cache))
    return tiny_run_config(cache, generator={"trainable": "directions", "directions": 8})


def started_from(config, path):
    return config.model_copy(update={"generator": config.generator.model_copy(update={"init": str(path)})})


@pytest.fixture
def start(public, tmp_path):
    """A file of a start that some of these patients taught."""
    save_finetuned(tmp_path / "start.safetensors", finetune(public, SETTINGS), public, SETTINGS)
    return tmp_path / "start.safetensors"


def test_a_run_begins_from_it_says_whom_it_saw_and_takes_nobody_of_them_for_private(run_in_one_line, tmp_path):
    words = ["generator.init=null", "finetuning.steps=3", "finetuning.held_out_fraction=0.3", "out=start.safetensors"]
    code, printed = run_in_one_line("finetune", *TINY, FEW, *words)
    assert code == 0, printed
    assert "loss on public patients held out: " in printed and "generator.init=" in printed
    code, printed = run_in_one_line("simulate", *PRIVATE, FEW, *UNMEASURED, "generator.init=start.safetensors")
    assert code == 0, printed
    material = read_material(open_run("runs/latest"), False)
    told = material.run.record.pretraining
    assert told["data"].endswith(f"Then {told['public_patients']} public patients of phantom")
    assert material.public_start and material.arm_title("epsilon_0").startswith(
        f"start of {told['public_patients']} public patients"
    )
    assert f"{told['public_patients']} public patients of phantom" in (material.run.folder / "report.html").read_text()
    code, printed = run_in_one_line(
        "simulate", *PRIVATE, FEW, *UNMEASURED, "generator.init=start.safetensors", "data.phantom.seed=0"
    )
    assert code == 2 and f"start.safetensors was trained on {told['public_patients']} of these patients" in printed


def test_what_it_starts_from_is_where_the_training_came_to_with_directions_of_its_own(public, start):
    found, again = initial_weights(started_from(public, start))[0], finetune(public, SETTINGS)
    assert found[DIRECTIONS].shape[1] == 8 and not np.any(found["directions.coordinates"])
    for name, array in again.trained.weights.items():
        assert np.array_equal(found[name], array)
    random = initial_weights(public)[0]
    assert any(not np.array_equal(random[name], again.trained.weights[name]) for name in again.trained.weights)


def test_patients_held_out_of_it_stay_new_to_it_and_those_who_taught_it_do_not(public, start, tmp_path):
    slices, run = prepared_slices(public, tmp_path), started_from(public, start)
    digests = set(load_arrays(start)[1][PUBLIC_SLICES])
    taught = [bool(set(slice_digests(slices.subset([one.patient]))) & digests) for one in slices.records]
    assert any(taught) and not all(taught)
    new = [one.patient for one, known in zip(slices.records, taught, strict=True) if not known]
    refuse_public_patients(run, slices.subset(new))
    known = next(one.patient for one, known in zip(slices.records, taught, strict=True) if known)
    with pytest.raises(UserError, match=rf"^generator.init: .* was trained on 1 of these patients, such as {known}"):
        refuse_public_patients(run, slices.subset([*new, known]))


def test_a_second_finetuning_remembers_the_patients_of_the_first(public, start, tmp_path):
    others = started_from(
        public.model_copy(update={"data": public.data.model_copy(update={"sources": {"phantom": "others"}})}), start
    )
    others = others.model_copy(
        update={"data": others.data.model_copy(update={"phantom": others.data.phantom.model_copy(update={"seed": 7})})}
    )
    save_finetuned(tmp_path / "both.safetensors", finetune(others, SETTINGS), others, SETTINGS)
    first, both = (set(load_arrays(path)[1][PUBLIC_SLICES]) for path in (start, tmp_path / "both.safetensors"))
    assert first < both
    told = [load_arrays(path)[1]["pretraining"] for path in (start, tmp_path / "both.safetensors")]
    assert told[1]["public_patients"] > told[0]["public_patients"]
    assert told[1]["data"].count("public patients") == 2


def test_everybody_comes_once_before_anybody_comes_again_wherever_one_begins(public, tmp_path):
    slices = prepared_slices(public, tmp_path)
    number = slices.number_of_patients
    came = [one.records[0].patient for one in islice(_again(slices, 5, 0), 3 * number)]
    turns = [came[start : start + number] for start in range(0, len(came), number)]
    assert all(len(set(turn)) == number for turn in turns) and turns[0] != turns[1]
    assert [one.records[0].patient for one in islice(_again(slices, 5, number + 2), 3)] == came[number + 2 : number + 5]


def test_an_interrupted_finetuning_goes_on_to_the_same_weights(public, tmp_path, monkeypatch):
    monkeypatch.setattr("cmrfed.training.pretraining.CHECKPOINT_EVERY_S", 0.0)
    monkeypatch.setattr("cmrfed.finetuning.prepared_slices", lambda *_: slices)
    slices = prepared_slices(public, tmp_path)

    def weights(cache):
        monkeypatch.setenv("CMRFED_CACHE", str(tmp_path / cache))
        return finetune(public, SETTINGS).trained.weights

    whole = weights("whole")
    with interrupted_in_step(2) as interrupt:
        weights("cut")
    assert interrupt.value.__notes__ == ["1 of 3 steps are kept for the next try"]
    gone_on = weights("cut")
    assert all(np.array_equal(whole[name], gone_on[name]) for name in whole)
    assert not list((tmp_path / "cut").rglob("*.partial"))


def test_the_generator_of_a_private_run_is_no_public_start(public, finished_tiny_run):
    with pytest.raises(UserError, match=r"^generator.init: .* is no public start"):
        finetune(started_from(public, finished_tiny_run.folder), SETTINGS)


@pytest.mark.parametrize(("key", "value"), [("size", 24), ("field_of_view_mm", 100.0), ("intensity", "minmax")])
def test_a_start_of_another_grid_is_refused_before_anything_is_read(public, start, key, value):
    other = started_from(public, start)
    other = other.model_copy(update={"preprocessing": other.preprocessing.model_copy(update={key: value})})
    with pytest.raises(UserError, match=rf"^generator.init: .*preprocessing.{key}="):
        refuse_unusable_start(other)


def test_only_what_finetune_wrote_is_written_over(public, start, finished_tiny_run):
    assert is_finetuned(start)
    assert not is_finetuned(finished_tiny_run.arm_folder("private") / "model.safetensors")
