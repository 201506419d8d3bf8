"""Every layout as disks really have it: with what Macs leave, with links for folders, with volumes unpacked."""

import gzip
import shutil
from pathlib import Path

import pytest
from fuzz import write_data_sets

from cmrfed.datasets import DATASETS, find_entries, recognise
from cmrfed.volumes import load_case

APPLE_DOUBLE = b"\0\5\x16\7" + bytes(78)
NIFTI = [name for name in DATASETS if name not in ("sunnybrook", "ocmr", "folder")]
"""Of data=folder the table says what a file is called."""


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A small copy of every layout; tests must leave it as it is."""
    root = tmp_path_factory.mktemp("layouts")
    write_data_sets(root)
    return root


@pytest.fixture
def root(written, request, tmp_path):
    """A copy of one layout, to be changed."""
    return Path(shutil.copytree(written / request.param, tmp_path / "data" / request.param))


def found(name, root):
    """Who is found and what is wrong; the first case of each is read."""
    problems = []
    entries = find_entries(name, root, unlabelled=True, problems=problems)
    load_case(entries[0])
    return [(entry.patient, entry.visit, entry.phase, entry.mask_path is None) for entry in entries], problems


def files_of(root):
    return [path for path in root.rglob("*") if path.is_file()]


each_layout = pytest.mark.parametrize(("root", "name"), [(name, name) for name in DATASETS], indirect=["root"])


@each_layout
def test_what_a_mac_leaves_beside_files_and_in_zips_is_nobody(root, name, written):
    for path in files_of(root):
        twin = root / "__MACOSX" / path.relative_to(root).parent / f"._{path.name}"
        twin.parent.mkdir(parents=True, exist_ok=True)
        twin.write_bytes(APPLE_DOUBLE)
        path.with_name(f"._{path.name}").write_bytes(APPLE_DOUBLE)
        path.with_name(".DS_Store").write_bytes(b"")
    assert found(name, root) == found(name, written / name)
    assert recognise(root) == [name]


@each_layout
def test_folders_may_be_links_into_a_store(root, name, written, tmp_path):
    """Every folder is one, but under data=folder the first alone: what its table names must lie inside."""
    deep = [path for path in root.rglob("*") if path.is_dir()]
    folders = [root / "images", root / "masks"] if name == "folder" else sorted(deep, reverse=True)
    for number, folder in enumerate(folders):
        folder.rename(tmp_path / f"store{number}")
        folder.symlink_to(tmp_path / f"store{number}", target_is_directory=True)
    assert found(name, root) == found(name, written / name)
    assert recognise(root) == [name]


@each_layout
def test_links_that_lead_back_change_nothing(root, name, written):
    for folder in [root, *(path for path in root.rglob("*") if path.is_dir())]:
        (folder / "again").symlink_to(root, target_is_directory=True)
    assert found(name, root) == found(name, written / name)
    assert recognise(root) == [name]


@pytest.mark.parametrize(("root", "name"), [(name, name) for name in NIFTI], indirect=["root"])
def test_volumes_may_be_unpacked(root, name, written):
    packed = [path for path in files_of(root) if path.suffix == ".gz" and path.read_bytes()[:2] == b"\x1f\x8b"]
    assert packed
    for path in packed:
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
    assert found(name, root) == found(name, written / name), "a volume that is there both ways is there once"
    for path in packed:
        path.unlink()
    assert found(name, root) == found(name, written / name)
    assert recognise(root) == [name]
