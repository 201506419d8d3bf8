"""A default stands in its stage alone; every option that is offered is one that the code takes, and says only what it
changes."""

import re
from pathlib import Path

import pytest
import yaml
from composed import NEEDED, composed, composed_run
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from cmrfed.cli.commands import COMMANDS
from cmrfed.composition import options, put_in
from cmrfed.config import RunConfig, read_stage
from cmrfed.keys import all_keys, defaults_of, find_key, keys_of
from cmrfed.site import SitePolicy

CONFIGS = Path(__file__).parents[1] / "configs"
ACROSS = ("recipe", "experiment")
"""Groups whose options set keys of several sections."""
OPTIONS = sorted(
    (path.parent.name, path.stem)
    for path in CONFIGS.glob("*/*.yaml")
    if path.parent.name in (*ACROSS, *RunConfig.model_fields)
)
NAMED_BY = {
    "aggregation": "aggregation.rule",
    "federation": "federation.site_by",
    "generator": "generator.family",
    "recipe": "privacy.mode",
}
"""The key that an option sets even where that is the default, so that the option stays what it is called."""


def leaves(values, parents=""):
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{parents}{name}.")
        else:
            yield f"{parents}{name}", value


def read_yaml(*names):
    """The keys that a file itself sets."""
    values = yaml.safe_load(CONFIGS.joinpath(*names).with_suffix(".yaml").read_text()) or {}
    return {name: value for name, value in values.items() if name not in ("defaults", "hydra")}


def value_at(values, name):
    for word in name.split("."):
        values = values[word] if values is not None and word in values else None
    return values


def command_of(group, option):
    """Whose option it is: an experiment may be a sweep, or a comparison."""
    others = {"sweep": "sweep", "comparison": "compare"}
    return next((other for key, other in others.items() if key in read_yaml(group, option)), "simulate")


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_a_run_can_be_made_from_every_option_of_every_group(group, option, monkeypatch):
    monkeypatch.setenv("CMRFED_DATA", "/data")
    assert composed_run(command_of(group, option), f"{group}={option}", "data.root=/data")


def test_a_run_made_in_python_is_the_run_of_the_command_line():
    found = composed_run("simulate")
    assert found == RunConfig(data=found.data)
    assert found.privacy.mode == "local"


@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_not_set_is_what_the_commands_stage_has(command):
    """Made in Python from no more than what its YAML files and words set, the stage is the same."""
    words, stage = NEEDED.get(command, []), COMMANDS[command].stage
    groups = [word for word in words if word.startswith("data=")]
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        said = OmegaConf.to_container(compose(COMMANDS[command].config, groups), resolve=False)
    given = composed(command, *words)
    values = {}
    for name in [*dict(leaves(said)), *(word.partition("=")[0] for word in words if word not in groups)]:
        put_in(values, {name: value_at(given.model_dump(mode="json"), name)})
    assert read_stage(stage, values) == given


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_an_option_sets_no_key_to_what_it_is_without_it(group, option):
    stage = COMMANDS[command_of(group, option)].stage
    values = read_yaml(group, option)
    defaults, parents = defaults_of(stage), "" if group in (*ACROSS, *values) else f"{group}."
    for name, value in leaves(values, parents):
        assert find_key(stage, name), name
        assert name == NAMED_BY.get(group) or value != value_at(defaults, name), name


@pytest.mark.parametrize("command", COMMANDS)
def test_a_commands_yaml_sets_no_key_to_what_it_is_without_it(command):
    stage = COMMANDS[command].stage
    for name, value in leaves(read_yaml(COMMANDS[command].config)):
        assert find_key(stage, name), name
        assert value != value_at(defaults_of(stage), name), name


@pytest.mark.parametrize("group", ["aggregation", "recipe"])
def test_an_option_is_what_it_is_called(group):
    for option in [path.stem for path in (CONFIGS / group).glob("*.yaml")]:
        values = composed_run("simulate", f"{group}={option}").model_dump(mode="json")
        assert value_at(values, NAMED_BY[group]) == option


@pytest.mark.parametrize("option", options("generator"))
def test_a_preset_of_a_generator_names_the_paper_whose_method_it_is(option):
    comments = [line for line in (CONFIGS / "generator" / f"{option}.yaml").read_text().splitlines() if line[:1] == "#"]
    assert re.search(r"\b(19|20)\d\d\b", " ".join(comments)), "a year"
    assert re.search(r"arXiv:\d{4}\.\d{4,5}|doi:10\.|et al\.| and ", " ".join(comments))


@pytest.mark.parametrize(
    "word", ["recipe=local", "generator=flow", "federation=vendors", "evaluation=fast", "data=phantom"]
)
def test_the_first_option_of_each_group_is_what_nobody_needs_to_choose(word):
    assert composed_run("simulate", word) == composed_run("simulate")


def test_a_recipe_sets_privacy_rounds_and_steps_together():
    found = {name: composed_run("simulate", f"recipe={name}") for name in ("local", "distributed", "none")}
    assert {name: one.privacy.mode for name, one in found.items()} == {name: name for name in found}
    assert [one.training.local_steps for one in found.values()] == [1, 1, 160]
    assert [one.federation.rounds for one in found.values()] == [4, 4, 10]
    assert [one.training.optimizer for one in found.values()] == ["sgd", "sgd", "adam"]


def test_defaults_name_every_key_but_those_of_a_section_that_is_off():
    named = {name for name, _ in leaves(defaults_of(RunConfig))}
    known = {key.name for key in all_keys(keys_of(RunConfig)) if not key.section}
    assert known - named == {name for name in known if name.startswith("privacy.adaptive.")}
    assert named - known == {"privacy.adaptive"}


def test_the_policy_put_into_a_new_home_names_every_key_and_what_it_would_be_without():
    """So that a hospital sees all of its limits, and loosens none by striking out a line."""
    written, defaults = read_yaml("site", "example"), defaults_of(SitePolicy)
    assert written.keys() == defaults.keys()
    assert {name for name in written if written[name] != defaults[name]} == {"name", "maximum_epsilon"}
