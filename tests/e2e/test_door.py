"""A coordinator's own code meets two doors, each tried alone: nothing runs that was not approved; and what runs all the
same, under the node's account, can open nothing of the home."""

import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest
from evil import brought_home, evil_app
from homes import make_home
from hospitals import approve, door, kept_out, node, running, said, submitted

from cmrfed.apps.simulations import flower
from cmrfed.door import REFUSED
from cmrfed.door.bundles import Bundles
from cmrfed.door.journal import read_journal
from cmrfed.door.messages import packed, refusal


@pytest.fixture
def place():
    """A folder that every account can walk through, as tests' own temporary folders are not."""
    folder = Path(tempfile.mkdtemp(prefix="cmrfed-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def home(place):
    home = make_home(place / "home", answer_interval_s=0.1).folder
    home.chmod(0o700)
    return home


def test_an_app_that_nobody_approved_is_not_run(home, place):
    """Node and home of one account, which by itself would shield nothing."""
    socket, booty = place / "site.sock", place / "booty.json"
    approve(home)
    with ExitStack() as opened:
        environment, port = opened.enter_context(flower.superlink(place / "superlink.log", simulation=False))
        opened.enter_context(door(home, socket))
        opened.enter_context(node(port, socket, place / "node.log"))
        submitted(evil_app(place / "app"), environment, place / "flwr.log", home=home, booty=booty).wait(120)
    assert booty.exists(), said(place)
    assert brought_home(booty) == [{"refused": REFUSED}]
    assert len(Bundles(home / "bundles").waiting()) == 1, "the engineer can read what it was"
    asked = [line for line in read_journal(home / "journal.jsonl") if line["decision"] != "decided here"]
    assert {line["action"] for line in asked} == {"bundle"}, "and it asked nothing"


def test_code_that_runs_under_the_nodes_account_gets_nothing(home, place):
    """Flower's own SuperNode, which runs whatever a run brings."""
    socket, booty, abroad = place / "site.sock", place / "booty.json", place / "abroad"
    abroad.mkdir()
    abroad.chmod(0o777)
    with flower.superlink(place / "superlink.log", simulation=False) as (environment, port):
        command = [flower.tool("flower-supernode"), "--insecure", "--superlink", f"127.0.0.1:{port}"]
        command += ["--port", str(flower.free_ports(1)[0]), "--node-config", f'socket="{socket}"']
        if (started := kept_out(home, command, abroad)) is None:
            pytest.skip("this account can start no process that is kept out of its own files")
        command, options, account = started
        with door(home, socket, account), running(command, place / "node.log", **options):
            submitted(evil_app(place / "app"), environment, place / "flwr.log", home=home, booty=booty).wait(180)
    assert booty.exists(), said(place)
    (found,) = brought_home(booty)
    assert found.pop("ran") == "yes", "it did run, under the node's account"
    assert found.pop("environment") == "{}" and found.pop("memory") == "[]"
    constant = packed(refusal("here")).hex()
    assert {found.pop("door, asked for a file"), found.pop("door, asked by pickle")} == {constant}
    assert set(found.values()) == {"PermissionError"}, found
    assert not (home / "left").exists()
