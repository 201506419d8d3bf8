"""What may leave a run is in share/, and nothing else is."""

import json

import pytest
from finished_runs import CONFIG, PLAN, lay_out, results

from cmrfed.config import GeneratorConfig
from cmrfed.generators import build_generator
from cmrfed.privacy import NoPrivacy
from cmrfed.report import write_report
from cmrfed.updates import load_generator, read_weights, sampling_notes, save_generator

SMALL = CONFIG.model_copy(update={"generator": GeneratorConfig(channels=(8, 8), norm_groups=4, init="phantom")})


@pytest.fixture
def make(tmp_path):
    def made(found=None, plan=PLAN):
        run = lay_out(tmp_path / "run", found or results(), plan, SMALL)
        generator = build_generator(SMALL.generator, seed=3)
        for arm in found["arms"] if found else ("private",):
            path = run.arm_folder(arm) / "model.safetensors"
            save_generator(path, generator, read_weights(generator), secret="S1")
        return run

    return made


def test_it_holds_the_private_arms_generator_with_its_grid_and_the_card_and_nothing_else(make):
    run = make()
    write_report(run, None)
    share = run.folder / "share"
    assert {path.name for path in share.iterdir()} == {"model.safetensors", "README.md"}
    generator, notes = load_generator(share / "model.safetensors")
    own, _ = load_generator(run.arm_folder("private") / "model.safetensors")
    for name, weight in read_weights(own).items():
        assert (read_weights(generator)[name] == weight).all()
    assert notes == json.loads(json.dumps(sampling_notes(SMALL))), "no other note of the run"


def test_its_card_says_what_was_spent_and_nothing_that_was_measured_on_patients(make):
    run = make(results(private=0.777))
    write_report(run, None)
    card = (run.folder / "share" / "README.md").read_text()
    assert "epsilon 2.35 at delta 0.0001" in card
    assert "add or remove one patient" in card
    for measured in ("0.777", "0.53", "12 patients", "results.json"):
        assert measured not in card


@pytest.mark.parametrize("plan", [NoPrivacy(), PLAN.model_copy(update={"seed": 1})], ids=["no privacy", "seeded noise"])
def test_there_is_none_where_nothing_is_promised(make, plan):
    run = make(plan=plan)
    write_report(run, None)
    assert not (run.folder / "share").exists()


def test_there_is_none_where_no_ledger_says_what_was_spent(make):
    found = results()
    for site in found["sites"].values():
        site["epsilon"] = None
    run = make(found)
    write_report(run, None)
    assert not (run.folder / "share").exists()
