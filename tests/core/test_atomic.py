"""Files appear whole or not at all, are on disk once they have their name, and are closed to others where asked."""

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from cmrfed.core import atomic


@pytest.fixture
def open_umask():
    before = os.umask(0o022)
    yield
    os.umask(before)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_text_is_replaced_whole_as_utf_8_and_missing_folders_are_made(tmp_path):
    path = tmp_path / "a" / "b" / "text"
    atomic.write_text(path, "old, and longer")
    atomic.write_text(path, "\u00fc\n")
    assert path.read_bytes() == b"\xc3\xbc\n"
    assert names(path.parent) == ["text"]


@pytest.mark.parametrize("there", [True, False])
def test_a_writer_that_breaks_off_changes_nothing_and_leaves_nothing(tmp_path, there):
    path = tmp_path / "file"
    if there:
        path.write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic.replacing(path) as draft:
        draft.write_text("half of it")
        raise KeyboardInterrupt
    assert [p.read_text() for p in tmp_path.iterdir()] == ["old"] * there


def test_a_killed_writer_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    killed = (
        "import os, sys; from pathlib import Path; from cmrfed.core import atomic\n"
        "with atomic.replacing(Path(sys.argv[1])) as draft: draft.write_text('half of it'); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", killed, path]).returncode == -9
    assert path.read_text() == "old"


def test_two_writers_at_once_do_not_write_into_each_other(tmp_path):
    texts = [letter * 100_000 for letter in "abcd"]
    writers = [threading.Thread(target=atomic.write_text, args=(tmp_path / "file", text)) for text in texts]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert (tmp_path / "file").read_text() in texts and names(tmp_path) == ["file"]


def test_a_draft_keeps_the_suffix_by_which_writers_choose_the_format(tmp_path):
    with atomic.replacing(tmp_path / "case.nii.gz") as draft:
        assert draft.name.endswith(".nii.gz") and draft.parent == tmp_path


@pytest.mark.parametrize(("mode", "found"), [({}, 0o644), ({"mode": atomic.PRIVATE}, 0o600)])
def test_a_file_is_as_open_as_was_asked_from_its_first_byte_on(tmp_path, open_umask, mode, found):
    with atomic.replacing(tmp_path / "file", **mode) as draft:
        assert stat.S_IMODE(draft.stat().st_mode) == found
        draft.write_text("secret")
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == found


@pytest.fixture
def on_disk(monkeypatch):
    """What was put on disk and what got its name, in order."""
    done: list[tuple[str, str]] = []
    real = {name: getattr(Path, name) for name in ("replace", "rename", "hardlink_to")}

    def synced(descriptor: int) -> None:
        done.append(("synced", Path(f"/proc/self/fd/{descriptor}").readlink().name))

    def noting(name: str):
        def move(path: Path, other: Path) -> object:
            done.append(("named", Path(path if name == "hardlink_to" else other).name))
            return real[name](path, other)

        return move

    monkeypatch.setattr(os, "fsync", synced)
    for name in real:
        monkeypatch.setattr(Path, name, noting(name))
    return done


def without_draft_names(done: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(what, "draft" if name.startswith(".") else name) for what, name in done]


@pytest.mark.parametrize("write", [atomic.write_bytes, atomic.create])
def test_content_is_on_disk_before_the_name_and_the_name_before_the_call_returns(tmp_path, on_disk, write):
    write(tmp_path / "file", b"content")
    assert without_draft_names(on_disk) == [("synced", "draft"), ("named", "file"), ("synced", tmp_path.name)]


def test_a_folder_s_files_are_on_disk_before_its_name(tmp_path, on_disk):
    with atomic.new_folder(tmp_path / "folder") as draft:
        (draft / "a").write_text("content")
    assert without_draft_names(on_disk) == [
        ("synced", "a"),
        ("synced", "draft"),
        ("named", "folder"),
        ("synced", tmp_path.name),
    ]


def test_what_need_not_outlive_the_machine_waits_for_no_disk(tmp_path, on_disk):
    atomic.write_text(tmp_path / "file", "content", durable=False)
    assert without_draft_names(on_disk) == [("named", "file")]


def test_a_new_file_is_its_owner_s_alone_and_never_replaces_one(tmp_path, open_umask):
    path = tmp_path / "key"
    atomic.create(path, b"first")
    with pytest.raises(FileExistsError):
        atomic.create(path, b"second")
    assert path.read_bytes() == b"first" and stat.S_IMODE(path.stat().st_mode) == 0o600
    assert names(tmp_path) == ["key"]


def test_a_folder_appears_whole(tmp_path):
    with atomic.new_folder(tmp_path / "a" / "folder") as draft:
        (draft / "inner").mkdir()
        (draft / "inner" / "file").write_text("content")
        assert names(tmp_path / "a") == [draft.name]
    assert names(tmp_path / "a") == ["folder"]
    assert (tmp_path / "a" / "folder" / "inner" / "file").read_text() == "content"


def test_a_folder_that_breaks_off_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), atomic.new_folder(tmp_path / "folder") as draft:
        (draft / "file").write_text("half of it")
        raise KeyboardInterrupt
    assert names(tmp_path) == []


def test_a_folder_never_replaces_one_that_holds_anything(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "theirs").write_text("theirs")
    with pytest.raises(OSError, match="not empty"), atomic.new_folder(tmp_path / "folder") as draft:
        (draft / "ours").write_text("ours")
    assert names(tmp_path) == ["folder"] and names(tmp_path / "folder") == ["theirs"]


def test_a_link_points_elsewhere_in_one_step(tmp_path):
    for target in ("one", "two"):
        (tmp_path / target).mkdir()
        atomic.point(tmp_path / "latest", target)
    assert (tmp_path / "latest").resolve() == tmp_path / "two"
    assert names(tmp_path) == ["latest", "one", "two"]
