"""cmrfed generate, from masks on disk to pairs on disk; and what commands do with an `out` they cannot take."""

import shutil
from collections import namedtuple

import numpy as np
import pytest
from toy_hearts import SPACING_MM, toy_mask

from cmrfed.federation import Arm
from cmrfed.shapes import Label
from cmrfed.updates import load_generator, read_weights, save_generator
from cmrfed.volumes import read_volume, write_volume

FAST = ("sampling.steps=1",)


@pytest.fixture
def run(run_in_one_line):
    return run_in_one_line


@pytest.fixture
def masks(tmp_path):
    write_volume(tmp_path / "masks" / "heart_gt.nii.gz", toy_mask(), SPACING_MM)
    return tmp_path / "masks"


def test_pairs_are_written_on_the_masks_own_grid_and_what_is_blank_is_said(run, tmp_path, masks, finished_tiny_run):
    mask = np.concatenate([toy_mask(), np.zeros((2, 40, 48), np.uint8)])
    write_volume(masks / "heart_gt.nii.gz", mask, SPACING_MM)
    arguments = [f"run={finished_tiny_run.folder}", f"masks={masks}", "vendor=GE", "phase=ED", *FAST]
    code, printed = run("generate", *arguments, "out=out")
    assert code == 0, printed
    assert f"1 image and mask pairs in {tmp_path / 'out'}" in printed
    assert "not drawn: slices without labels (2)" in printed
    image, spacing_mm = read_volume(tmp_path / "out" / "heart.nii.gz")
    np.testing.assert_array_equal(read_volume(tmp_path / "out" / "heart_gt.nii.gz")[0], mask)
    assert (image.shape, spacing_mm) == (mask.shape, SPACING_MM)
    assert 0 <= image.min() < image.max() <= 1
    code, printed = run("generate", *arguments, "out=out", "grid=model")
    assert code == 0, printed
    image, spacing_mm = read_volume(tmp_path / "out" / "heart.nii.gz")
    assert image.shape == (3, 16, 16)
    assert spacing_mm == pytest.approx((8.0, 150 / 16, 150 / 16))


def test_without_masks_it_draws_simulated_hearts_each_at_its_own_phase(run, tmp_path, finished_tiny_run):
    arguments = [f"run={finished_tiny_run.folder}", "hearts=2", "vendor=Siemens,GE", *FAST]
    code, printed = run("generate", *arguments, "out=out")
    assert code == 0, printed
    assert f"8 image and mask pairs in {tmp_path / 'out'}" in printed
    names = {path.name for path in (tmp_path / "out" / "GE").iterdir()}
    assert names == {
        f"heart000{heart}_{phase}{end}.nii.gz" for heart in (0, 1) for phase in ("ED", "ES") for end in ("", "_gt")
    }
    ed, es = (read_volume(tmp_path / "out" / "GE" / f"heart0000_{phase}_gt.nii.gz")[0] for phase in ("ED", "ES"))
    assert 0 < (es == Label.LV).sum() < (ed == Label.LV).sum()
    code, printed = run("generate", *arguments, "out=es", "phase=ES")
    assert code == 0 and {path.name[10:12] for path in (tmp_path / "es" / "GE").iterdir()} == {"ES"}
    again = read_volume(tmp_path / "es" / "GE" / "heart0000_ES.nii.gz")[0]
    np.testing.assert_array_equal(again, read_volume(tmp_path / "out" / "GE" / "heart0000_ES.nii.gz")[0])


@pytest.mark.parametrize("words", [["labels=acdc"], ["frames=0"], ["phase=ED,unknown"]])
def test_what_says_how_to_read_masks_needs_masks(run, finished_tiny_run, words):
    code, printed = run("generate", f"run={finished_tiny_run.folder}", "hearts=1", "out=out", *words)
    assert code == 2 and ("masks: " in printed or "phase: " in printed)


@pytest.mark.parametrize("arm", ["epsilon_0", "private", "non_private"])
def test_every_arm_can_be_drawn_from_its_run_and_from_its_file_alike(run, tmp_path, masks, finished_tiny_run, arm):
    """Every model file carries its grid and how it is sampled: no run is needed beside it."""
    model = finished_tiny_run.arm_folder(arm) / "model.safetensors"
    for out, source in (("a", (f"run={finished_tiny_run.folder}", f"arm={arm}")), ("b", (f"model={model}",))):
        code, printed = run("generate", *source, f"masks={masks}", f"out={out}", "grid=model")
        assert code == 0, printed
    a, b = (read_volume(tmp_path / out / "heart.nii.gz")[0] for out in ("a", "b"))
    np.testing.assert_array_equal(a, b)
    assert load_generator(model)[1]["sampling"] == finished_tiny_run.config.sampling.model_dump()


def test_all_vendors_and_phases_are_drawn_in_one_call_and_several_can_be_named(run, tmp_path, masks, finished_tiny_run):
    source = [f"run={finished_tiny_run.folder}", f"masks={masks}", *FAST]
    assert run("generate", *source, "out=all", "vendor=all", "phase=all")[0] == 0
    folders = {path.relative_to(tmp_path / "all").as_posix() for path in (tmp_path / "all").glob("*/*")}
    assert folders == {
        f"{vendor}/{phase}" for vendor in ("Siemens", "Philips", "GE", "Canon") for phase in ("ED", "ES")
    }
    assert run("generate", *source, "out=two", "vendor=[GE,Canon]")[0] == 0
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == ["Canon", "GE"]


def test_a_frame_and_another_label_table_are_chosen_by_keys(run, tmp_path, finished_tiny_run):
    acdc = np.array([0, 3, 2, 1], np.uint8)[toy_mask()]
    write_volume(tmp_path / "cine" / "a.nii.gz", np.stack([acdc, acdc, acdc]), SPACING_MM)
    arguments = ["generate", f"run={finished_tiny_run.folder}", "masks=cine", "out=out", "frames=2", *FAST]
    code, printed = run(*arguments)
    assert code == 2
    assert "labels=acdc fits" in printed
    assert not (tmp_path / "out").exists()
    code, printed = run(*arguments, "labels=acdc")
    assert code == 0, printed
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a_frame02.nii.gz", "a_frame02_gt.nii.gz"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["vendor=Simens"], "(found 'Simens'); did you mean Siemens?"),
        (["phase=[ED,EX]"], "(found 'EX')"),
        (["masks=/nowhere"], "/nowhere: holds no .nii"),
        (["labels=acd"], "did you mean acdc?"),
        (["frames=-1"], "frames"),
        (["arm=best"], "(found 'best')"),
        (["arm=private", "model=x"], "arm: goes with run="),
        (["sampling.steps=0"], "sampling.steps: Input should be greater"),
        (["out=masks"], "lies among the masks"),
        (["out=images"], "is not overwritten"),
        (["out=images/heart.nii.gz"], "is a file, where a folder is needed"),
    ],
)
def test_what_cannot_be_used_is_refused_and_nothing_is_touched(run, tmp_path, masks, finished_tiny_run, changes, said):
    write_volume(tmp_path / "images" / "heart.nii.gz", toy_mask(), SPACING_MM)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.nii.gz")}
    code, printed = run("generate", f"run={finished_tiny_run.folder}", f"masks={masks}", "out=out", *changes)
    assert code == 2
    assert said in printed
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.nii.gz")} == before
    assert not (tmp_path / "out").exists()


def test_a_model_file_of_an_older_version_is_drawn_by_its_run(run, masks, finished_tiny_run, tmp_path):
    generator, _ = load_generator(finished_tiny_run.folder / "model.safetensors")
    save_generator(tmp_path / "old.safetensors", generator, read_weights(generator))
    code, printed = run("generate", "model=old.safetensors", f"masks={masks}", "out=out")
    assert code == 2
    assert "does not say its grid; give its run as run=FOLDER" in printed


def test_an_arm_says_all_that_sampling_needs_when_it_is_finished(finished_tiny_run, tmp_path):
    shutil.copytree(finished_tiny_run.folder, tmp_path / "run")
    arm = Arm.open(tmp_path / "run" / "arms" / "private")
    arm.finish(arm.state())
    _, notes = load_generator(arm.folder / "model.safetensors")
    config = finished_tiny_run.config
    assert notes["preprocessing"] == config.preprocessing.model_dump(mode="json")
    assert notes["sampling"] == config.sampling.model_dump(mode="json")


EVERY_OUT = [
    ("data verify data.root=. out=file/x.json", "file is no folder"),
    ("data preview data.root=. out=file/x.png", "file is no folder"),
    ("data phantom out=file", "is a file"),
    ("data phantom out=/proc/x", "cannot be written"),
    ("ledger export home=. out=file/x.csv", "file is no folder"),
    ("reader-study out=file", "is a file"),
    ("reader-study out=/proc/x", "cannot be written"),
    ("report compare run=a,b out=mine.html", "is not overwritten"),
    ("report compare run=a,b out=file/x.html", "file is no folder"),
    ("release out=file/below", "is a file"),
    ("release out=/proc/x", "cannot be written"),
    ("evaluate images=. out=file", "is a file"),
    ("evaluate images=. out=/proc/x", "cannot be written"),
    ("generate masks=. out=file", "is a file"),
    ("generate masks=. out=/proc/x", "cannot be written"),
    ("simulate out=file", "is a file"),
    ("simulate out=/proc/x", "cannot be written"),
    ("prepare data.root=. home=file", "is a file"),
]


@pytest.mark.parametrize(("command", "said"), EVERY_OUT, ids=[command for command, _ in EVERY_OUT])
def test_no_command_begins_whose_output_cannot_be_kept(run, tmp_path, command, said):
    """One line, exit code 2, and before the run, the data or the model that it names is so much as looked for."""
    for name in ("file", "mine.html"):
        (tmp_path / name).write_text("theirs")
    code, printed = run(*command.split())
    assert code == 2
    assert said in printed
    assert "Traceback" not in printed
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"file": "theirs", "mine.html": "theirs"}


EVERY_COMMAND = [
    "data verify data.root=. out=x.json",
    "data preview data.root=. out=x.png",
    "data phantom out=x",
    "ledger export home=. out=x.csv",
    "reader-study out=x",
    "report compare run=a,b out=x.html",
    "release out=x",
    "evaluate images=. out=x",
    "generate masks=. out=x",
    "simulate",
    "prepare data.root=. home=x",
]


@pytest.mark.parametrize("command", EVERY_COMMAND)
def test_no_command_begins_on_a_full_disk(run, tmp_path, monkeypatch, command):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(2**40, 2**40, 0))
    code, printed = run(*command.split())
    assert code == 2
    assert "has 0 MiB free" in printed
    assert list(tmp_path.iterdir()) == []
