"""The data commands: what is printed, what is written, exit codes, and folders with any name."""

import json
import shutil
import stat
import subprocess
import sys

import damaged_data as damaged
import pytest
from matplotlib.image import imread
from PIL import Image

from cmrfed import cli
from cmrfed.config import PhantomConfig
from cmrfed.contact_sheet import FOOTER
from cmrfed.phantom import write_phantom
from cmrfed.shapes import COLOURS

STRANGE_NAMES = ["a b", "x=1", "=,'\"", "ünï ☃", "${HOME}", "[1,2]", "~tilde", "data=acdc"]


@pytest.fixture(scope="session")
def hospital(tmp_path_factory):
    """A folder with one data set of two vendors, two patients each; tests must leave it as it is."""
    root = tmp_path_factory.mktemp("hospital")
    write_phantom(root / "phantom", PhantomConfig(patients_per_vendor=2, vendors=("Siemens", "GE")))
    return root


@pytest.fixture
def damaged_hospital(hospital, tmp_path):
    """Two problems and a warning."""
    root = shutil.copytree(hospital / "phantom", tmp_path / "damaged")
    first, second, third, _ = damaged.patients_of(root)
    damaged.cut_short(first)
    damaged.crop_mask(second)
    damaged.swap_frames(third)
    return root


@pytest.fixture
def run(run_cmrfed):
    """A data command; returns (exit code, what was printed)."""
    return lambda *arguments: run_cmrfed("data", *arguments)


@pytest.mark.parametrize("command", ["verify", "preview", "phantom"])
def test_help_shows_how_each_is_used_and_a_missing_folder_is_one_line(run, command):
    code, printed = run(command, "--help")
    assert code == 0
    assert f"cmrfed data {command} /" in printed
    assert "Any key can be set" in printed
    code, printed = run(command)
    assert code == 2
    assert printed.count("\n") == 1
    assert "has no value" in printed


def test_the_previews_help_says_that_it_must_not_leave(run):
    assert "SHOWS PATIENTS AND MUST NOT LEAVE THE HOSPITAL" in run("preview", "--help")[1]


def test_help_does_not_wait_for_torch():
    script = "import sys, cmrfed.cli.data; print('torch' in sys.modules or 'nibabel' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_clean_folder_ends_with_one_reassuring_line_and_exit_code_0(run, hospital):
    code, printed = run("verify", str(hospital))
    assert code == 0, printed
    assert printed.splitlines()[-1] == "4 patients read, 0 problems, 0 warnings"
    assert max(map(len, printed.splitlines())) <= 100
    names = [patient.name for patient in damaged.patients_of(hospital / "phantom")]
    assert not any(name in printed for name in names), "tables name no patient"


def test_problems_are_all_listed_and_the_exit_code_is_1(run, damaged_hospital):
    code, printed = run("verify", str(damaged_hospital))
    assert code == 1
    assert printed.splitlines()[-1] == "2 patients read, 2 problems, 1 warning"
    for patient in damaged.patients_of(damaged_hospital)[:3]:
        assert sum(patient.name in line for line in printed.splitlines()) == 1
    assert "Traceback" not in printed


def test_warnings_alone_are_exit_code_0_and_long_lists_are_cut_with_a_word(run, hospital, tmp_path):
    root = shutil.copytree(hospital / "phantom", tmp_path / "swapped")
    for patient in damaged.patients_of(root):
        damaged.swap_frames(patient)
    code, printed = run("verify", str(root), "lines=1")
    assert code == 0
    assert "ED and ES swapped (4)" in printed
    assert "and 3 more; lines=4 shows all" in printed


def test_nothing_readable_is_still_a_list_of_problems(run, hospital, tmp_path):
    root = shutil.copytree(hospital / "phantom", tmp_path / "broken")
    for patient in damaged.patients_of(root):
        damaged.cut_short(patient)
    code, printed = run("verify", str(root))
    assert code == 1
    assert "0 patients read, 4 problems, 0 warnings" in printed


def test_the_record_holds_what_the_tables_show(run, damaged_hospital, tmp_path):
    code, printed = run("verify", str(damaged_hospital), "by=vendor", "out=found.json")
    assert code == 1
    record = json.loads((tmp_path / "found.json").read_text())
    assert (record["patients"], len(record["problems"]), len(record["warnings"])) == (2, 2, 1)
    for finding in [*record["problems"], *record["warnings"]]:
        assert finding["line"] in printed
    tables = printed.split("problems\n")[0]
    for site in record["sites"]:
        (row,) = [line.split() for line in tables.splitlines() if line.startswith(site["site"]["vendor"])][:1]
        assert row[1:4] == [str(site[key]) for key in ("patients", "stacks", "slices")]
        assert f"{site['lv_edv_ml'][1]:.0f}" in tables
        assert f"{site['in_plane_mm'][1]:.3g}" in tables
        assert next(iter(site["matrices"])) in tables
    assert record["sources"] == {"phantom": str(damaged_hospital)}
    names = [patient.name for patient in damaged.patients_of(damaged_hospital)]
    assert not any(name in json.dumps(record["sites"]) for name in names)


def test_a_record_is_replaced_and_nothing_else_is(run, hospital, tmp_path):
    assert run("verify", str(hospital), "out=found.json")[0] == 0
    (tmp_path / "found.json").write_text(
        (tmp_path / "found.json").read_text().replace('"patients": 4', '"patients": 9')
    )
    assert run("verify", str(hospital), "out=found.json")[0] == 0
    assert json.loads((tmp_path / "found.json").read_text())["patients"] == 4
    (tmp_path / "mine.json").write_text("{}")
    for out, said in (
        ("mine.json", "is not overwritten"),
        ("x.txt", "does not end in .json"),
        ("no/x.json", "no folder"),
    ):
        code, printed = run("verify", str(hospital), f"out={out}")
        assert code == 2
        assert said in printed
        assert printed.count("\n") == 1, "said before anything is read"
    assert (tmp_path / "mine.json").read_text() == "{}"
    assert {path.name for path in tmp_path.iterdir()} == {"found.json", "mine.json"}


def test_a_data_set_can_be_named_instead_of_recognised(run, hospital, tmp_path):
    shutil.copytree(hospital / "phantom", tmp_path / "plain")
    (tmp_path / "plain" / "phantom.json").unlink()
    code, printed = run("verify", "data=mnms", f"data.root={tmp_path / 'plain'}")
    assert code == 0, printed
    assert "mnms" in printed
    assert "4 patients read" in printed
    code, printed = run("verify", str(tmp_path / "plain"), "data=acdc")
    assert code == 2
    assert "holds no" in printed


@pytest.mark.parametrize(
    ("name", "way"), [*((name, "{}") for name in STRANGE_NAMES), ("${x} =,'\"[{☃", "data.root={}")]
)
def test_folders_may_have_any_name(run, hospital, tmp_path, name, way):
    shutil.copytree(hospital / "phantom", tmp_path / "hospitals" / name)
    folder = tmp_path / "hospitals" / name
    code, printed = run("verify", way.format(folder), f"out={folder / 'out, $1.json'}")
    assert code == 0, printed
    assert (folder / "out, $1.json").is_file()


def test_a_relative_folder_is_never_taken_for_a_setting_when_written_as_a_path(run, hospital, tmp_path):
    shutil.copytree(hospital / "phantom", tmp_path / "by=vendor")
    code, printed = run("verify", "./by=vendor", "by=dataset")
    assert code == 0, printed
    code, printed = run("verify", "here", "there")
    assert code == 2
    assert "given twice, 'here' and 'there'" in printed
    assert run("verify", "")[0] == 2


def test_options_of_hydra_keep_their_values(run, hospital):
    code, printed = run("verify", str(hospital), "--cfg", "job")
    assert code == 0
    assert "lines: 10" in printed


def test_a_folder_left_to_the_environment_is_missed_in_one_line(run, monkeypatch):
    monkeypatch.delenv("CMRFED_DATA", raising=False)
    code, printed = run("verify", "data=real_vendors")
    assert code == 2
    assert printed.startswith("cmrfed data verify: data.root: has no value; give data.root=VALUE, folder of ")


@pytest.mark.parametrize("by", ["colour", "[]"])
def test_an_unknown_way_to_form_sites_is_one_line(run, hospital, by):
    code, printed = run("verify", str(hospital), f"by={by}")
    assert code == 2
    assert printed.startswith("cmrfed data verify: by")


def test_names_from_files_cannot_steer_the_terminal(run, hospital, tmp_path):
    root = shutil.copytree(hospital / "phantom", tmp_path / "hostile")
    damaged.edit_table(root, lambda rows: [row | {"Centre": "\x1b[31m[red]", "Pathology": "[bold]"} for row in rows])
    code, printed = run("verify", str(root))
    assert code == 0
    assert "\x1b[31m" not in printed
    assert "[bold]" in printed


@pytest.mark.parametrize(
    ("options", "panels", "lines"),
    [([], 16, 2), (["prepared=false"], 8, 1), (["slices=3", "patients=1"], 24, 6)],
)
def test_a_preview_is_a_readable_picture_with_every_panel(run, hospital, tmp_path, options, panels, lines):
    code, printed = run("preview", str(hospital), "out=preview.png", *options)
    assert code == 0, printed
    assert f"{panels} panels of " in printed
    pixels = imread(tmp_path / "preview.png")
    lit = (pixels[..., :3] > 0.2).any(axis=2)
    columns = panels // (2 * lines)  # two sites below each other
    assert pixels.shape[1] > columns * 200
    assert pixels.shape[0] > 2 * lines * 200
    assert 0.05 < lit.mean() < 0.95
    for colour in COLOURS.values():
        wanted = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
        assert (abs(pixels[..., :3] - wanted).max(axis=2) < 0.05).sum() > 50, "outlines are there"


def test_a_preview_of_patients_says_so_and_only_its_owner_may_read_it(run, hospital, tmp_path):
    shutil.copytree(hospital / "phantom", tmp_path / "mnms")
    (tmp_path / "mnms" / "phantom.json").unlink()
    code, printed = run("preview", str(tmp_path / "mnms"), "out=preview.png", "patients=1", "names=true")
    assert code == 0, printed
    assert FOOTER in printed
    assert stat.S_IMODE((tmp_path / "preview.png").stat().st_mode) == 0o600
    assert FOOTER not in run("preview", str(hospital), "out=phantom.png", "patients=1")[1]


def test_a_preview_replaces_a_preview_and_nothing_else(run, hospital, tmp_path):
    arguments = ("preview", str(hospital), "patients=1", "prepared=false")
    assert run(*arguments, "out=preview.png")[0] == 0
    first = (tmp_path / "preview.png").read_bytes()
    assert run(*arguments, "out=preview.png")[0] == 0
    assert (tmp_path / "preview.png").read_bytes() == first, "one seed, one picture"
    assert run(*arguments, "out=preview.png", "seed=5")[0] == 0
    assert (tmp_path / "preview.png").read_bytes() != first
    Image.new("L", (8, 8)).save(tmp_path / "holiday.png")
    kept = (tmp_path / "holiday.png").read_bytes()
    for out, said in (
        ("holiday.png", "is not overwritten"),
        ("x.jpg", "does not end in .png"),
        ("no/x.png", "no folder"),
    ):
        code, printed = run(*arguments, f"out={out}")
        assert code == 2
        assert said in printed
    assert (tmp_path / "holiday.png").read_bytes() == kept


def test_a_preview_leaves_out_and_names_who_cannot_be_used(run, damaged_hospital):
    code, printed = run("preview", str(damaged_hospital), "out=preview.png")
    assert code == 0, printed
    assert "8 panels of 4 patients" in printed
    assert printed.count("left out: ") == 2


@pytest.mark.parametrize(("vendor", "patients"), [("GE,Canon", 2), ("any", 4)])
def test_a_phantom_is_written_and_the_next_command_understands_it(run, tmp_path, vendor, patients):
    code, printed = run("phantom", "out=my phantom", "patients=1", f"vendor={vendor}")
    assert code == 0, printed
    assert f"{patients} phantom patients in " in printed
    assert printed.splitlines()[-1] == f"next: cmrfed data verify '{tmp_path / 'my phantom'}'"
    code, printed = run("verify", str(tmp_path / "my phantom"))
    assert code == 0, printed
    assert "0 problems, " in printed, "a stack may start below the right ventricle, which warns"


def test_a_phantom_keeps_away_from_other_files_and_unknown_vendors(run, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("kept")
    code, printed = run("phantom", "full", "patients=1")
    assert code == 2
    assert "holds no phantom data" in printed
    code, printed = run("phantom", "new", "vendor=Simens")
    assert code == 2
    assert "(found 'Simens'); did you mean Siemens?" in printed
    assert not (tmp_path / "new").exists()


def test_the_data_commands_are_listed(run):
    code, printed = run()
    assert code == 2
    assert all(f"data {command}" in printed for command in ("verify", "preview", "phantom"))
    assert cli.COMMANDS["data verify"].word == "data.root"
