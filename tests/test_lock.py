"""An image installs what pyproject.toml asks for, each at one version and by its hash, and nothing else."""

import re
import subprocess
import tomllib
from importlib.metadata import PackageNotFoundError, requires, version

import pytest
from deployments import DEPLOY
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = DEPLOY.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCKS = ["requirements.lock", "build.lock"]


def lines(lock):
    """Each requirement, on one line with its hashes."""
    text = (DEPLOY / lock).read_text(encoding="utf-8").replace("\\\n", " ")
    return [line for line in text.splitlines() if not line.startswith("#")]


def locked(lock):
    """Name -> version."""
    found = [re.match(r"(\S+)==(\S+)", line) for line in lines(lock)]
    return {canonicalize_name(match[1]): match[2] for match in found}


def unmet(wanted, lock):
    """Of these requirements, those that no version in the lock meets, on the images' machine."""
    found = locked(lock)
    machine = {"platform_machine": "x86_64", "sys_platform": "linux", "python_version": "3.11"}
    needed = [one for one in map(Requirement, wanted) if not one.marker or one.marker.evaluate(machine | {"extra": ""})]
    return [
        str(one)
        for one in needed
        if (name := canonicalize_name(one.name)) not in found or not one.specifier.contains(found[name])
    ]


@pytest.mark.parametrize("lock", LOCKS)
def test_every_line_is_one_version_with_its_hashes_and_nothing_else(lock):
    assert lines(lock)
    for line in lines(lock):
        assert re.fullmatch(r"[a-z0-9._-]+==[\w.!+]+( +--hash=sha256:[0-9a-f]{64})+ *", line), line


def test_what_is_locked_is_what_the_project_asks_for():
    assert not unmet(PROJECT["project"]["dependencies"], "requirements.lock")
    assert not unmet(PROJECT["build-system"]["requires"], "build.lock")
    build = (DEPLOY / "build.in").read_text(encoding="utf-8").splitlines()
    assert not unmet([line for line in build if not line.startswith("#")], "build.lock")
    # what is installed twice is the same twice
    both = locked("requirements.lock").keys() & locked("build.lock").keys()
    assert all(locked("requirements.lock")[name] == locked("build.lock")[name] for name in both)


def test_nothing_is_locked_whose_own_needs_are_not():
    """As far as this machine has the very versions, and so knows what they need."""
    known = [name for name, at in locked("requirements.lock").items() if _installed(name) == at]
    assert len(known) > 50, "make lock: the lock and what is installed have drifted apart"
    missing = {name: left for name in known if (left := unmet(requires(name) or [], "requirements.lock"))}
    assert not missing


def _installed(name):
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def test_make_lock_makes_both(tmp_path):
    said = subprocess.run(["make", "--just-print", "lock"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for lock in LOCKS:
        assert re.search(rf"uv pip compile .*--generate-hashes .*--output-file deploy/{lock}", said)
