"""Paths are taken as they are written; every other mistake is found at once, and the nearest right word is named."""

import json
import subprocess
import sys

import pytest
from composed import NEEDED
from flwr.common.config import parse_config_args
from hypothesis import given
from hypothesis import strategies as st

from cmrfed import cli
from cmrfed.apps.simulations.flower import toml_text
from cmrfed.cli.commands import COMMANDS
from cmrfed.composition import read_words
from cmrfed.config import AdaptiveClipping
from cmrfed.keys import all_keys, find_key, keys_of

NAMES = [
    "ACDC (1)",
    "Universität",
    "a=b",
    "a,b",
    "o'neil",
    'a"b',
    "a#b",
    "[x]",
    "{x}",
    "${x}",
    "50%",
    "~",
    "ü ☃",
    "-x",
    "null",
]


def written_keys(command):
    """Every key of a command that is taken as written and may be anything, with a name of one's own where there may
    be any."""
    stage = COMMANDS[command].stage
    free = [
        key for key in all_keys(keys_of(stage)) if not any(getattr(one, "pattern", 0) for one in key.field.metadata)
    ]
    names = [key.name for key in free if key.as_written]
    names += ["data.sources.acdc"] * bool(find_key(stage, "data.sources"))
    names += ["evaluation.fidelity.weights.inception-v3"] * bool(find_key(stage, "evaluation.fidelity"))
    return names


@pytest.fixture
def received(run_cmrfed, monkeypatch):
    """Call a command; the values that its function would be given, or what was printed."""

    def call(name, *words):
        got = []
        monkeypatch.setattr(f"cmrfed.cli.{COMMANDS[name].module}.{COMMANDS[name].function}", got.append)
        code, printed = run_cmrfed(*name.split(), *words)
        return got[0].model_dump() if code == 0 else printed

    return call


def value_at(values, name):
    for word in name.split("."):
        values = values[word]
    return values


@pytest.mark.parametrize("command", COMMANDS)
def test_every_path_of_every_command_may_have_any_characters(received, tmp_path, command):
    """All of a command's path keys at once, each with another name."""
    names = dict(zip(written_keys(command), NAMES * 3, strict=False))
    given = {key: f"{tmp_path}/{name}" for key, name in names.items()}
    for path in given.values():  # commas part paths where no such file is there
        (tmp_path / path).mkdir(exist_ok=True)
    needed = [word for word in NEEDED.get(command, []) if word.partition("=")[0] not in given]
    got = received(command, *needed, *(f"{key}={path}" for key, path in given.items()))
    for key, path in given.items():
        expected = (path,) if find_key(COMMANDS[command].stage, key).listed else path
        assert value_at(got, key) == expected


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1))
def test_no_path_is_ever_looked_into(path):
    found = read_words([f"masks=/{path}", f"out=./{path}"], COMMANDS["generate"].stage, None)
    assert found.as_written == {"masks": f"/{path}", "out": f"./{path}"}
    assert found.overrides == []


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1))
def test_flower_is_told_of_an_arm_in_any_folder(path):
    assert parse_config_args([f"arm={toml_text(path)}"]) == {"arm": path}


def test_null_takes_no_option_of_a_group(received):
    assert received("simulate", "experiment=null") == received("simulate")
    assert received("evaluate", "data=null")["data"] is None
    assert received("simulate", "recipe=null") == received("simulate"), "every key as its stage has it"
    swept = received("simulate", "experiment=null,real_vendors", "data.root=/data", "-m")
    assert swept["federation"]["site_by"] == ("vendor",)


def test_null_means_none_only_where_there_may_be_none(received):
    assert received("simulate", "resume=null")["resume"] is None
    assert received("simulate", "out=null")["out"] == "null"


def test_of_a_path_given_again_the_last_one_counts_as_of_every_key(received):
    assert received("simulate", "out=a", "out=b", "seed=1", "seed=2") | {"out": "b", "seed": 2} == received(
        "simulate", "out=b", "seed=2"
    )


def test_several_paths_are_given_one_by_one_or_with_commas(received, tmp_path):
    (tmp_path / "a,b").mkdir()
    assert received("report compare", "x", "a,b", "run=y,z")["run"] == ("x", "a,b", "y", "z")


def test_one_value_is_a_list_of_one_and_commas_make_a_list_where_a_list_belongs(received):
    values = received("simulate", "preprocessing.phases=ED,ES", "federation.site_by=centre")
    assert values["preprocessing"]["phases"] == ("ED", "ES")
    assert values["federation"]["site_by"] == ("centre",)
    swept = received("simulate", "preprocessing.phases=[ED],[ES]", "-m")
    assert swept["preprocessing"]["phases"] == ("ED",), "options may come last"


def test_a_key_that_the_recipe_leaves_out_can_be_set_like_any_other(received):
    assert received("simulate", "training.batch_size=4")["training"]["batch_size"] == 4
    values = received("simulate", "privacy.clipping=norm", "privacy.adaptive.quantile=0.4")
    assert values["privacy"]["adaptive"] == AdaptiveClipping(quantile=0.4).model_dump()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("privacy.epsilon=3", "privacy.epsilon: did you mean privacy.target_epsilon?"),
        ("+privacy.epsilon=3", "privacy.epsilon: did you mean privacy.target_epsilon?"),
        ("sead=3", "sead: did you mean seed?"),
        ("experimnt=real_vendors", "experimnt: did you mean experiment"),
        ("zzz=3", "zzz: there is no such key"),
        ("hydra.run.dir=x", "hydra.run.dir: there is no such key"),
        ("site=example", "site: "),
        ("data=acdcx", "data: there is no 'acdcx'; did you mean acdc? Options are acdc, cine, "),
        ("recipe=locl", "recipe: there is no 'locl'; did you mean local? Options are distributed, local, none"),
        ("privacy=none", "privacy: is a section of keys, found 'none'; did you mean recipe=none?"),
        ("preprocessing=standard", "preprocessing: is a section of keys, found 'standard'; --help preprocessing lists"),
        ("privacy.accountant=gdp", "privacy.accountant: Input should be 'prv' or 'rdp' (found 'gdp')"),
        ("federation.rounds=ten", "federation.rounds: Input should be a valid integer"),
        (
            "preprocessing.phases=[ED,EX]",
            "preprocessing.phases.1: Input should be 'ED', 'ES' or 'unknown' (found 'EX')",
        ),
        ("privacy.target_epsilon=1,2", "privacy.target_epsilon: is given several values, 1,2; -m makes a run of each"),
        ("privacy.target_epsilon=1(", "privacy.target_epsilon: '1(' cannot be read; put it in quotes twice"),
        ("privacy.mode.x=1", "privacy.mode.x: "),
        ("seed=${nothing.there}", "nothing.there"),
        ("data.sources.acdc=", "data.sources.acdc: is given without a value"),
        ("simulate", "'simulate' is no key=value"),
        ("--config-dir x", "--config-dir: there is no such option; there are --help, --cfg job and -m"),
        ("--cfg hydra", "--cfg: there is only --cfg job"),
        ("~privacy.nothing", "privacy.nothing"),
        ("name=a/b", "name: String should match pattern"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_key(run_cmrfed, tmp_path, words, said):
    code, printed = run_cmrfed("simulate", *words.split())
    assert (code, printed.count("\n")) == (2, 1), printed
    assert printed.startswith("cmrfed simulate: ")
    assert said in printed
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [
        ["simulate", "privacy.epsilon=3"],
        ["simulate", "data=acdcx"],
        ["simulate", "evaluation.leakage.attacks=[los]"],
        ["simulate", "generator.channels=[10]"],
        ["canary-audit", "canary_audit.canaries=7"],
        ["generate", "masks=m", "out=o", "vendor=Simens"],
        ["release", "out=o", "policy.attacks=[los]"],
        ["reader-study", "out=o", "items=1"],
        ["pretrain", "training.device=meta"],
    ],
)
def test_no_mistake_waits_for_anything_heavy(words):
    script = (
        "import sys, cmrfed.cli\n"
        "try: cmrfed.cli.main()\n"
        "except SystemExit as stop: print(stop.code, sorted({'torch', 'monai', 'flwr', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "2 []", done.stderr


def test_the_composed_configuration_shows_paths_as_they_are_and_needs_no_value(run_cmrfed):
    code, printed = run_cmrfed("generate", "masks=${x} (1)", "--cfg", "job")
    assert code == 0
    assert "masks: ${x} (1)" in printed
    assert "out: ???" in printed


@pytest.mark.parametrize(("command", "near"), [("simulat", "simulate"), ("ledger verfy", "ledger verify")])
def test_an_unknown_command_names_the_nearest(run_cmrfed, command, near):
    code, printed = run_cmrfed(*command.split())
    assert code == 2
    assert f"did you mean {near}?" in printed


def test_what_the_disk_refuses_is_one_line(run_cmrfed, monkeypatch, tmp_path):
    def refused(_):
        (tmp_path / "missing" / "home").mkdir()

    monkeypatch.setattr("cmrfed.cli.runs.prepare", refused)
    code, printed = run_cmrfed("prepare", "data=acdc", "data.root=r", "home=h")
    assert code == 2
    assert printed == f"cmrfed prepare: {tmp_path / 'missing' / 'home'}: No such file or directory\n"


def test_a_defect_is_not_taken_for_the_users_mistake(run_cmrfed, monkeypatch):
    def broken(_):
        raise ConnectionResetError("nothing that the user did")

    monkeypatch.setattr("cmrfed.cli.runs.report", broken)
    with pytest.raises(ConnectionResetError):
        run_cmrfed("report")


def test_values_come_to_a_command_as_its_stage_has_them(received):
    values = received("data phantom", "out", "vendor=any")
    assert values == {"out": "out", "patients": 20, "vendor": ("Siemens", "Philips", "GE", "Canon"), "seed": 0}
    assert json.dumps(values)
    assert cli.COMMANDS is COMMANDS
