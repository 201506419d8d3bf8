"""The command line teaches, and what a user can mend ends in one line and exit code 2."""

import gzip
import re
import subprocess
import sys
from pathlib import Path

import pytest
from homes import SIDES_KEY, make_home
from omegaconf import OmegaConf

from cmrfed import cli
from cmrfed.config import read_stage
from cmrfed.site import SitePolicy
from cmrfed.site.division import Division
from cmrfed.slices import Slices


@pytest.fixture
def run(run_cmrfed):
    return run_cmrfed


def test_without_a_command_every_command_is_listed(run):
    code, printed = run()
    assert code == 0
    assert all(command in printed for command in ("simulate", "pretrain", "generate", "evaluate", "report"))


def test_an_unknown_command_is_named_with_the_known_ones(run):
    code, printed = run("simulat")
    assert code == 2
    assert "'simulat'" in printed
    assert "simulate" in printed


@pytest.mark.parametrize(
    "command", ["simulate", "prepare", "pretrain", "generate", "evaluate", "report", "canary-audit"]
)
def test_every_commands_help_shows_how_it_is_used(run, command):
    code, printed = run(command, "--help")
    assert code == 0
    assert f"cmrfed {command}" in printed
    assert "Any key can be set" in printed
    assert "Exit codes: 0 done" in " ".join(printed.split())


def test_an_audit_passes_and_one_without_noise_fails_with_exit_code_1(run):
    """Of 240 guesses 178 refute the plan; 154 are right, give or take 7, and without noise nearly all."""
    small = ["canary_audit.canaries=400", "canary_audit.patients=2", "federation.rounds=1", "preprocessing.size=16"]
    small += [
        "generator.channels=[8,8]",
        "generator.trainable=all",
        "privacy.target_epsilon=2",
        "training.local_steps=6",
    ]
    code, printed = run("canary-audit", *small)
    assert code == 0, printed
    assert "The claim stands" in printed
    code, printed = run("canary-audit", "canary_audit.noise=false", *small)
    assert code == 1
    assert "is refuted: do not train on patients with this installation" in printed


def test_the_composed_configuration_can_be_printed(run):
    code, printed = run("simulate", "recipe=none", "--cfg", "job")
    assert code == 0
    assert "optimizer: adam" in printed, "a recipe sets the privacy mode and all that goes with it"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["data=mnms"], "data.root: has no value; give data.root=VALUE"),
        (["data=mnms", "data.root=/nowhere"], "/nowhere: no such folder"),
        (["privacy.delta=0.5"], "published outright"),
        (["privacy.sample_rate=1.5"], "privacy.sample_rate: Input should be less than or equal to 1 (found 1.5)"),
        (["resume=/nowhere"], "/nowhere: is not a run"),
        (["preprocessing.size=65"], "preprocessing.size"),
    ],
)
def test_a_mistake_is_one_line_with_exit_code_2_and_leaves_nothing(run, tmp_path, arguments, said):
    code, printed = run("simulate", *arguments)
    assert code == 2
    errors = [line for line in printed.splitlines() if line.startswith("cmrfed simulate:")]
    assert len(errors) == 1
    assert said in errors[0]
    assert "Traceback" not in printed
    assert not (tmp_path / "runs").exists()


def test_a_broken_volume_is_named_before_any_run_begins(run, tmp_path):
    write = ["data.phantom.patients_per_vendor=2", "data.phantom.vendors=[GE]", "preprocessing.size=16"]
    small = ["generator.init=null", "privacy.minimum_patients=50"]
    run("simulate", *write, *small)  # writes the phantom, then refuses the small site
    volume = next((tmp_path / "cache").rglob("*_sa.nii.gz"))
    volume.write_bytes(gzip.compress(gzip.decompress(volume.read_bytes())[:2000]))
    code, printed = run("simulate", *write, *small)
    assert code == 2
    assert volume.name in printed.replace("\n", "")
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {"prepared"}, "no run was begun"


def test_a_hospital_prepares_its_home_and_keeps_the_policy_it_has(run, tmp_path, finished_tiny_run):
    source = finished_tiny_run.config.data
    arguments = [
        "data=phantom", f"data.root={source.root}", f"data.sources.phantom={source.sources['phantom']}",
        "preprocessing.size=16", "home=here",
    ]  # fmt: skip
    code, printed = run("prepare", *arguments)
    assert code == 2
    assert "minimum_patients: example has 12 patients to train on and takes part with 20 or more" in printed
    policy = tmp_path / "here" / "site.yaml"
    assert {path.name for path in policy.parent.iterdir()} == {"site.yaml"}, "no slices that a node could serve"
    edited = policy.read_text().replace("8.0", "3.0").replace("minimum_patients: 20", "minimum_patients: 10")
    policy.write_text(edited)
    code, printed = run("prepare", *arguments)
    assert code == 0, printed
    assert Slices.load(tmp_path / "here" / "slices.safetensors").number_of_patients == 12
    assert policy.read_text() == edited
    kept = read_stage(SitePolicy, OmegaConf.load(policy))
    assert (kept.maximum_epsilon, kept.ledger) == (3.0, str(tmp_path / "data" / "cmrfed" / "ledger.sqlite"))


def test_a_home_that_others_can_read_is_warned_of_with_what_to_run(run, tmp_path, caplog, finished_tiny_run):
    source = finished_tiny_run.config.data
    home = tmp_path / "here"
    home.mkdir()
    home.chmod(0o755)
    run(
        "prepare", "data=phantom", f"data.root={source.root}", f"data.sources.phantom={source.sources['phantom']}",
        "preprocessing.size=16", "home=here",
    )  # fmt: skip
    assert f"{home} has mode 0755; run: chmod -R go-rwx {home}" in caplog.text


def test_a_file_in_the_home_that_is_not_of_slices_is_not_written_over(run, tmp_path):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "slices.safetensors").write_text("theirs")
    code, printed = run("prepare", "data=phantom", "data.root=.", "home=here")
    assert code == 2
    assert "cmrfed prepare: home: " in printed and "is not overwritten" in printed
    assert (tmp_path / "here" / "slices.safetensors").read_text() == "theirs"


def test_a_hospital_holds_patients_out_and_is_told_how_many(run, tmp_path, finished_tiny_run):
    source = finished_tiny_run.config.data
    arguments = [
        "data=phantom", f"data.root={source.root}", f"data.sources.phantom={source.sources['phantom']}",
        "preprocessing.size=16", "home=here",
    ]  # fmt: skip
    home = make_home(tmp_path / "here")
    (home.folder / "division.json").write_text(Division(hold_out=0.25, key=SIDES_KEY).model_dump_json())
    code, printed = run("prepare", *arguments, "hold_out=0.25")
    assert code == 0, printed
    counts = [int(count) for count in re.findall(r"(\d+) patients, \d+ slices", printed)]
    assert len(counts) == 2 and sum(counts) == 12 and min(counts) > 0
    assert (
        "slices to train on in" in printed
        and "kept out of every training, for this site's membership audits" in printed
    )
    code, printed = run("prepare", *arguments)
    assert code == 2
    assert "cmrfed prepare: hold_out: 0.25 of the patients" in printed and "give hold_out=0.25" in printed
    code, printed = run("prepare", *arguments, "hold_out=1")
    assert code == 2
    assert "hold_out: Input should be less than 1 (found 1)" in printed


def test_importing_the_command_line_is_quick_and_needs_no_network():
    script = "import socket, sys; socket.socket.connect = None; import cmrfed.cli; print('torch' in sys.modules)"
    root = Path(cli.__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=root, check=True)
    assert done.stdout.strip() == "False", "help must not wait for torch"


@pytest.mark.parametrize("words", [(), ("a library's own words",)])
def test_an_interruption_ends_in_one_line_whoever_raised_it(run, monkeypatch, words):
    def interrupted(_):
        raise KeyboardInterrupt(*words)

    monkeypatch.setattr("cmrfed.cli.data.phantom", interrupted)
    code, printed = run("data", "phantom", "out")
    assert (code, printed.strip()) == (130, "cmrfed data phantom: interrupted")
