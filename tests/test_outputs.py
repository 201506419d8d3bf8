"""Nothing is written over that is not ours, and what cannot be written is said before anything is computed."""

import os
import shutil
import stat
from collections import namedtuple
from pathlib import Path

import pytest
from refusals import refuses

from cmrfed.config import UserError, not_readable
from cmrfed.outputs import new_folder, open_to_others, output_file, output_folder, private_folder, writing

as_anybody = pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")


@pytest.fixture
def full_disk(monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(2**40, 2**40 - 2**20, 2**20))


def test_a_file_is_new_or_ours(tmp_path):
    path = tmp_path / "out.json"
    assert output_file(path, (".json",)) == path
    path.write_text("theirs")
    with refuses("out:", path, "is not overwritten"):
        output_file(path, (".json",))
    with refuses("is not overwritten"):
        output_file(path, (".json",), lambda path: path.read_text() == "ours")
    path.write_text("ours")
    assert output_file(path, (".json",), lambda path: path.read_text() == "ours") == path


def test_a_link_to_nowhere_and_a_folder_are_in_the_way_too(tmp_path):
    (tmp_path / "link.json").symlink_to(tmp_path / "there.json")
    assert output_file(tmp_path / "link.json", (".json",)) == tmp_path / "there.json", "what a link names is written"
    (tmp_path / "folder.json").mkdir()
    with refuses("folder.json", "is not overwritten"):
        output_file(tmp_path / "folder.json", (".json",), lambda _: True)


@pytest.mark.parametrize(
    ("out", "said"), [("x.txt", "does not end in .json or .csv"), ("no/x.json", "no is no folder; make it first")]
)
def test_a_file_has_a_name_of_its_kind_in_a_folder_that_is_there(tmp_path, out, said):
    with refuses("out:", said):
        output_file(tmp_path / out, (".json", ".csv"))


def test_a_folder_need_not_be_there_and_is_not_made(tmp_path):
    assert output_folder(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("out", ["file", "file/below/it"])
def test_a_file_where_a_folder_is_needed_is_refused(tmp_path, out):
    (tmp_path / "file").write_text("theirs")
    with refuses("home:", tmp_path / "file", "is a file"):
        output_folder(tmp_path / out, key="home")
    assert (tmp_path / "file").read_text() == "theirs"


def test_a_folder_that_takes_no_files_is_refused_in_one_line():
    with refuses("out:", "/proc/cmrfed", "cannot be written"):
        output_folder("/proc/cmrfed")  # not even root can make files there


@as_anybody
def test_a_folder_without_write_permission_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with refuses("cannot be written", "Permission denied"):
            output_folder(tmp_path / "below")
    finally:
        tmp_path.chmod(0o700)


def test_a_full_disk_is_refused_before_anything_is_written(tmp_path, full_disk):
    for ask in (lambda path: output_file(path / "x.json", (".json",)), output_folder, new_folder):
        with refuses("out:", "its disk has 1 MiB free"):
            ask(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_room_that_is_asked_for_must_be_there(tmp_path):
    free = shutil.disk_usage(tmp_path).free
    with refuses("needs up to", "GiB"):
        output_folder(tmp_path, room_bytes=2 * free + 2**31)


def test_a_new_folder_may_be_there_but_holds_nothing(tmp_path):
    assert new_folder(tmp_path) == tmp_path
    (tmp_path / "notes.txt").write_text("theirs")
    with refuses(tmp_path, "is not empty (it holds notes.txt)"):
        new_folder(tmp_path)


def test_what_the_system_says_while_writing_is_one_line(tmp_path):
    with refuses("out:", "cannot be written (No space left on device)"), writing(tmp_path / "x"):
        Path("/dev/full").write_text("x", encoding="utf-8")


def test_a_private_folder_is_its_owners_alone_whatever_the_umask(tmp_path):
    before = os.umask(0o000)
    try:
        folder = private_folder(tmp_path / "home")
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_home_or_a_file_in_it_that_others_can_read_is_told_with_the_command_that_closes_it(tmp_path):
    home = private_folder(tmp_path / "home")
    slices = home / "slices.safetensors"
    assert open_to_others(home, ("slices.safetensors", "missing")) is None
    slices.write_text("")
    slices.chmod(0o640)
    said = open_to_others(home, ("slices.safetensors",))
    assert said is not None
    assert f"{slices} has mode 0640; run: chmod -R go-rwx {home}" in said
    slices.chmod(0o600)
    home.chmod(0o711)
    assert f"{home} has mode 0711" in (open_to_others(home, ("slices.safetensors",)) or "")


def test_what_may_not_be_read_is_not_called_damaged():
    denied = PermissionError(13, "Permission denied")
    assert "damaged" not in str(not_readable(Path("x.nii.gz"), denied, "x.nii.gz: is damaged"))
    assert "may not read it (Permission denied)" in str(not_readable(Path("x.nii.gz"), denied, ""))
    assert str(not_readable(Path("x"), EOFError(), "x: is damaged")) == "x: is damaged"
    assert isinstance(not_readable(Path("x"), EOFError(), "x: is damaged"), UserError)
