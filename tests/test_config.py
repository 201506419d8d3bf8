"""Whatever somebody wrote into a configuration, a JSON or a YAML file: it is understood, or refused in one line."""

from itertools import pairwise
from typing import get_args

import pytest
from pydantic import ValidationError
from refusals import refuses

from cmrfed.conditions import UNKNOWN, VENDORS
from cmrfed.config import (
    FidelityConfig,
    GeneratorConfig,
    PrivacyConfig,
    RunConfig,
    SamplingConfig,
    Scanner,
    read_stage,
    read_stage_json,
    read_stage_json_text,
    read_stage_yaml,
)

DATA = {"data": {"root": ".", "sources": {}}}


def test_names_that_are_checked_before_torch_is_imported_are_those_of_the_tables():
    assert (*get_args(Scanner), UNKNOWN) == VENDORS


@pytest.mark.parametrize(
    ("stage", "values", "said"),
    [
        (RunConfig, {"seed": -1}, "seed: Input should be greater than or equal to 0 (found -1)"),
        (RunConfig, {"seed": 2**64}, "seed: Input should be less than"),
        (RunConfig, {"privacy": {"epsilon": 3}}, "privacy.epsilon: did you mean privacy.target_epsilon?"),
        (RunConfig, {"zzz": 1}, "zzz: there is no such key"),
        (RunConfig, {"training": {"device": "meta"}}, "training.device: String should match pattern"),
        (RunConfig, {"generator": {"channels": [8] * 7}}, "preprocessing.size: 64 is no multiple of 128"),
        (PrivacyConfig, {"declared_patients": 10**400}, "declared_patients: Input should be less than"),
        (PrivacyConfig, {"target_epsilon": "inf"}, "target_epsilon: Input should be a finite number"),
        (PrivacyConfig, {"delta": "nan"}, "delta: Input should be "),
        (PrivacyConfig, {"accountant": "prvs"}, "(found 'prvs'); did you mean prv?"),
        (GeneratorConfig, {"channels": []}, "channels: Tuple should have at least 1 item"),
        (FidelityConfig, {"weights": {"inception": "x"}}, "weights: no space 'inception'; choose among "),
        (SamplingConfig, [], "Input should be a valid dictionary"),
    ],
)
def test_a_bad_value_is_one_line_with_its_key(stage, values, said):
    full = DATA | values if stage is RunConfig else values
    with refuses(said):
        read_stage(stage, full)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"steps":' * 100_000, "{", "", "\x00", '"text"', "NaN"])
def test_json_of_any_depth_or_none_is_one_line(text):
    with refuses("the letter: "):
        read_stage_json_text(SamplingConfig, text, where="the letter")


def test_a_json_file_in_another_encoding_is_one_line(tmp_path):
    (tmp_path / "run.json").write_bytes(b'{"steps": "\xfc"}')
    with refuses(tmp_path / "run.json", "is not JSON"):
        read_stage_json(SamplingConfig, tmp_path / "run.json")


BOMB = "a: &a [x, x]\n" + "".join(f"{new}: &{new} [*{old}, *{old}]\n" for old, new in pairwise("abcdefghi"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOMB, "has an alias"),
        ("steps: &loop {steps: *loop}", "has an alias"),
        ("steps: !!python/object/apply:os.getpid []", "could not determine a constructor"),
        ("!!python/name:os.system", "could not determine a constructor"),
        ("steps: 3\nsteps: 4", "duplicate key"),
        ("[" * 100_000, "is not YAML"),
        ("{a: " * 100_000, "is not YAML"),
        ("steps: [", "is not YAML"),
        ("\x00", "is not YAML"),
        ("- steps", "is no list of KEY: VALUE lines"),
        ("steps", "steps"),
        ("steps: ${oc.env:NOBODY_SETS_THIS}", "NOBODY_SETS_THIS"),
        ("stepz: 3", "stepz: did you mean steps?"),
    ],
)
def test_a_yaml_file_runs_nothing_and_expands_to_nothing(tmp_path, text, said):
    path = tmp_path / "site.yaml"
    path.write_text(text)
    with refuses(path, said):
        read_stage_yaml(SamplingConfig, path)


def test_a_yaml_file_in_another_encoding_is_one_line_and_a_good_one_is_read(tmp_path):
    path = tmp_path / "site.yaml"
    path.write_bytes(b"# \xfc\nsteps: 3")
    with refuses(path, "is not YAML"):
        read_stage_yaml(SamplingConfig, path)
    path.write_text("# ünï\nsteps: 3\nguidance: 1e-1\n", encoding="utf-8")
    assert read_stage_yaml(SamplingConfig, path) == SamplingConfig(steps=3, guidance=0.1)
    with refuses(tmp_path, "cannot be read"):
        read_stage_yaml(SamplingConfig, tmp_path)


@pytest.mark.parametrize(
    ("values", "hidden_by"),
    [
        ({"aggregation": {"rule": "median"}}, "aggregation.rule=median hides; choose shrinkage=none or .*rule=mean"),
        ({"training": {"optimizer": "adam"}}, "training.optimizer=adam hides"),
        ({"training": {"local_steps": 2}, "privacy": {"adaptive": {}}}, "privacy.adaptive=.* hides.*adaptive=null"),
    ],
)
def test_shrinkage_is_refused_where_nobody_knows_how_large_the_noise_is(values, hidden_by):
    run = {"data": {"root": ".", "sources": {}}}
    with pytest.raises(ValidationError, match=hidden_by):
        RunConfig(**run, **values)
    RunConfig(**run, **values | {"aggregation": {"shrinkage": "none", **values.get("aggregation", {})}})
    RunConfig(**run, privacy={"adaptive": {}})
