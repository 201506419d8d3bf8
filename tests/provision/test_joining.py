"""A hospital joins by its invitation; its private key is made in its home and stays there."""

import base64
import hashlib
import stat
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_ssh_private_key
from provisioned import NOW, contents, invitation_of, joined, provisioned
from refusals import refuses

from cmrfed.core import atomic
from cmrfed.provision import join, read_connection
from cmrfed.provision.node_key import read_node_key


@pytest.fixture
def coordinator(tmp_path):
    return provisioned(tmp_path / "federation")


def test_a_node_key_is_one_that_flower_and_openssh_read_and_nobody_else_may(coordinator, tmp_path):
    site = joined(coordinator, "North", tmp_path / "home")
    path = tmp_path / "home" / "node.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert isinstance(load_ssh_private_key(path.read_bytes(), None), ec.EllipticCurvePrivateKey), "as flower-supernode"
    derived = subprocess.run(["ssh-keygen", "-y", "-f", path], capture_output=True, text=True, check=True).stdout
    assert derived.split()[:2] == site.public.read_text().split()[:2]
    digits = hashlib.sha256(base64.b64decode(derived.split()[1])).hexdigest()[:32]
    assert site.key.fingerprint.replace("-", "") == digits


def test_the_private_key_is_in_one_file_alone(coordinator, tmp_path):
    site = joined(coordinator, "North", tmp_path / "home")
    coordinator.register("North", read_node_key(site.public.read_text(), "mail"), site.key.fingerprint, NOW)
    number = load_ssh_private_key((tmp_path / "home" / "node.key").read_bytes(), None).private_numbers().private_value
    secret = number.to_bytes(48, "big")
    for name, content in contents(tmp_path).items():
        found = secret in content or any(form in content for form in (secret.hex().encode(), b"PRIVATE KEY"))
        private = name in ("home/node.key", "federation/server/server.pem", "federation/authority/authority.key")
        assert found == private, name


def test_a_connection_says_where_the_server_is_and_how_it_is_known(coordinator, tmp_path):
    joined(coordinator, "North", tmp_path / "home")
    found = read_connection(tmp_path / "home")
    assert (found.superlink, found.host, found.port) == ("fed.example.org:443", "fed.example.org", 443)
    assert (found.federation, found.site) == ("hearts", "North")
    assert Path(found.root_certificates).read_bytes() == (coordinator.server / "ca.crt").read_bytes()
    assert found.node_key == str(tmp_path / "home" / "node.key")


def test_joining_twice_changes_nothing(coordinator, tmp_path):
    first = joined(coordinator, "North", tmp_path / "home")
    before = contents(tmp_path / "home")
    for rotate in (False, True):
        again = joined(coordinator, "North", tmp_path / "home", rotate)
        assert again.before and again.key.bare == first.key.bare
        assert contents(tmp_path / "home") == before


def test_another_invitation_into_the_same_home_is_refused_unless_that_is_asked_for(coordinator, tmp_path):
    first, home = joined(coordinator, "North", tmp_path / "home"), tmp_path / "home"
    before = contents(home)
    for site in ("South 2", "North"):
        if site == "North":
            coordinator.invite_again(site, NOW)
        with refuses(home, "rotate=true"):
            joined(coordinator, site, home)
        assert contents(home) == before
    second = joined(coordinator, "North", home, rotate=True)
    assert second.key.bare != first.key.bare and not second.before


@pytest.mark.parametrize("file", ["node.key", "node.pub", "ca.crt", "connection.yaml"])
def test_whoever_was_interrupted_joins_again(coordinator, tmp_path, monkeypatch, file):
    invitation, home, written = invitation_of(coordinator, "North"), tmp_path / "home", atomic.write_bytes

    def stops(path, *rest, **more):
        if path.name == file:
            raise KeyboardInterrupt
        written(path, *rest, **more)

    monkeypatch.setattr(atomic, "write_bytes", stops)
    with pytest.raises(KeyboardInterrupt):
        join(home, invitation)
    monkeypatch.undo()
    with refuses("connection.yaml: is missing"):
        read_connection(home)
    site = join(home, invitation)
    coordinator.register("North", read_node_key(site.public.read_text(), "mail"), site.key.fingerprint, NOW)
    assert join(home, invitation).before


@pytest.mark.parametrize(
    "line", ["", "ssh-ed25519 AAAA", "ecdsa-sha2-nistp384 AAAA cmrfed:00", "a b c", "ssh-rsa " + "A" * 400]
)
def test_what_is_no_nodes_key_is_refused(line):
    with refuses("mail", "node.pub"):
        read_node_key(line, "mail")
