"""The one walk: every real folder once, links and loops or not, and nothing of what systems leave about."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from refusals import refuses

from cmrfed.volumes.trees import (
    children,
    files_under,
    folders_under,
    nifti_stem,
    subfolders,
    volume_path,
    volumes_under,
)

LITTER = ("._P1.nii.gz", ".DS_Store", "__MACOSX/._P1.nii.gz", "@eaDir/P1.nii.gz", ".git/P1.nii.gz", "Thumbs.db")


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def names(paths, root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in paths]


def test_files_and_folders_come_in_order_of_name(tmp_path):
    touch(tmp_path, "b/2", "b/10", "a/x", "c")
    assert names(files_under(tmp_path), tmp_path) == ["c", "a/x", "b/10", "b/2"]
    assert names(folders_under(tmp_path), tmp_path) == ["a", "b"]
    assert names(children(tmp_path), tmp_path) == ["a", "b", "c"]
    assert names(subfolders(tmp_path), tmp_path) == ["a", "b"]


def test_what_systems_leave_about_is_nobodys(tmp_path):
    touch(tmp_path, "a/P1.nii.gz", *LITTER, *(f"a/{name}" for name in LITTER))
    assert names(files_under(tmp_path), tmp_path) == ["a/P1.nii.gz"]
    assert names(children(tmp_path), tmp_path) == ["a"]
    assert [stem for stem, _ in volumes_under(tmp_path)] == ["P1"]


def test_a_volume_packed_and_unpacked_is_there_once(tmp_path):
    touch(tmp_path, "P1.nii", "P1.nii.gz", "P2.nii", "P3.mha")
    assert list(volumes_under(tmp_path)) == [("P1", tmp_path / "P1.nii.gz"), ("P2", tmp_path / "P2.nii")]
    assert volume_path(tmp_path, "P1") == tmp_path / "P1.nii.gz"
    assert (volume_path(tmp_path, "P3"), nifti_stem("P3.mha"), nifti_stem("P1.v2.nii")) == (None, None, "P1.v2")


def test_a_link_back_is_no_folder_of_its_own(tmp_path):
    touch(tmp_path, "a/b/x")
    for link, target in (("a/b/up", "a"), ("a/here", "a"), ("a/broken", "nowhere")):
        (tmp_path / link).symlink_to(tmp_path / target)
    (tmp_path / "a" / "itself").symlink_to("itself")
    assert names(subfolders(tmp_path / "a"), tmp_path) == ["a/b"]
    assert subfolders(tmp_path / "a" / "b") == []
    assert names(files_under(tmp_path), tmp_path) == ["a/b/x"]


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=24))
@settings(max_examples=60, deadline=None)
def test_whatever_links_where_each_file_that_can_be_reached_is_found_once(tmp_path_factory, links):
    """Eight folders with a file each; links between them, loops among these. The walk starts at folder 0."""
    root = tmp_path_factory.mktemp("links")
    for number in range(8):
        touch(root, f"{number}/file{number}")
    for count, (source, target) in enumerate(links):
        (root / str(source) / f"link{count}").symlink_to(root / str(target))
    reached, open_ = {0}, [0]
    while open_:
        here = open_.pop()
        new = {target for source, target in links if source == here} - reached
        reached |= new
        open_ += new
    assert sorted(path.name for path in files_under(root / "0")) == [f"file{number}" for number in sorted(reached)]


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_folder_that_may_not_be_listed_is_named(tmp_path):
    (tmp_path / "shut").mkdir(mode=0)
    with refuses(tmp_path / "shut", "cannot be listed", "permissions"):
        list(files_under(tmp_path))
    with refuses(tmp_path / "shut", "cannot be listed", "permissions"):
        children(tmp_path / "shut")


def test_a_folder_that_is_gone_is_named(tmp_path):
    for listed in (files_under, children):
        with refuses(tmp_path / "gone", "cannot be listed"):
            list(listed(tmp_path / "gone"))
