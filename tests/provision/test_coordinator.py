"""A coordinator's folder: closed, never written over, and exact about whose node may connect."""

import stat
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from provisioned import NOW, contents, described, invitation_of, joined, provisioned
from refusals import refuses

from cmrfed.provision import Coordinator, read_description
from cmrfed.provision.certificates import certificate_fingerprint
from cmrfed.provision.fingerprint import fingerprint, same_fingerprint
from cmrfed.provision.node_key import read_node_key


@pytest.fixture
def coordinator(tmp_path):
    return provisioned(tmp_path / "federation")


def sent(site):
    """The key in the line of text that a site sends."""
    return read_node_key(site.public.read_text(encoding="utf-8"), "mail")


def register(coordinator, name, site, now=NOW):
    coordinator.register(name, sent(site), site.key.fingerprint, now)


def test_keys_and_invitations_are_their_owners_alone(coordinator):
    assert stat.S_IMODE(coordinator.folder.stat().st_mode) == 0o700
    public = {"ca.crt"}
    for path in coordinator.folder.rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert path.name in public or not mode & 0o077, (path, oct(mode))
    assert {path.name for path in (coordinator.folder / "authority").iterdir()} == {"authority.key"}
    secret = (coordinator.folder / "authority" / "authority.key").read_bytes().splitlines()[1]
    found = [path.name for path in coordinator.folder.rglob("*") if path.is_file() and secret in path.read_bytes()]
    assert found == ["authority.key"], "the server's folder does without it"


def test_a_second_run_replaces_nothing_and_adds_what_is_missing(coordinator):
    before = contents(coordinator.folder)
    provisioned(coordinator.folder, NOW + timedelta(days=1))
    assert contents(coordinator.folder) == before
    provisioned(coordinator.folder, NOW + timedelta(days=1), sites=["North", "West"])
    after = contents(coordinator.folder)
    added = {"invitations/West.txt", "invitations/West.png"}
    assert {name for name in after if after[name] != before.get(name)} == {"sites.yaml", *added}
    lost = ("invitations/North.txt", "server/nginx.conf", "README.txt")
    for name in lost:
        (coordinator.folder / name).unlink()
    provisioned(coordinator.folder, NOW + timedelta(days=1))
    assert contents(coordinator.folder) == after, "the very same invitation, too"


@pytest.mark.parametrize("file", ["server/server.pem", "server/ca.crt", "sites.yaml", "README.txt"])
def test_whatever_an_interruption_left_out_is_made_by_the_next_run(tmp_path, monkeypatch, file):
    from cmrfed.core import atomic

    written = atomic.write_bytes

    def stops(path, *rest, **more):
        if str(path).endswith(file):
            raise KeyboardInterrupt
        written(path, *rest, **more)

    monkeypatch.setattr(atomic, "write_bytes", stops)
    with pytest.raises(KeyboardInterrupt):
        provisioned(tmp_path / "federation")
    monkeypatch.undo()
    coordinator = provisioned(tmp_path / "federation")
    assert invitation_of(coordinator, "North").certificate == coordinator.authority
    coordinator.server_certificate.verify_directly_issued_by(coordinator.authority)


def test_another_federation_in_the_same_folder_is_refused(coordinator):
    before = contents(coordinator.folder)
    with refuses("servers", "fed.example.org, 192.0.2.7", "found other.example.org"):
        provisioned(coordinator.folder, servers=["other.example.org"])
    assert contents(coordinator.folder) == before


def test_a_registered_sites_key_and_no_other_is_let_in(coordinator, tmp_path):
    north = joined(coordinator, "North", tmp_path / "north")
    assert not coordinator.sites.admitted
    register(coordinator, "North", north)
    assert {name: key.bare for name, key in coordinator.sites.admitted.items()} == {"North": north.key.bare}
    assert not coordinator.invitation("North").exists()
    before = contents(coordinator.folder)
    register(coordinator, "North", north)
    assert contents(coordinator.folder) == before, "once more changes nothing"


def test_a_site_that_is_struck_out_by_hand_is_not_let_in(coordinator, tmp_path):
    register(coordinator, "North", joined(coordinator, "North", tmp_path / "north"))
    path = coordinator.folder / "sites.yaml"
    path.write_text(path.read_text().replace("state: registered", "state: revoked"))
    assert not coordinator.sites.admitted


def test_a_key_is_refused_that_another_made_or_that_was_misheard(coordinator, tmp_path):
    north, south = (joined(coordinator, name, tmp_path / name) for name in ("North", "South 2"))
    with refuses("fingerprint", north.key.fingerprint, south.key.fingerprint):
        coordinator.register("North", sent(north), south.key.fingerprint, NOW)
    with refuses("fingerprint"):
        coordinator.register("North", sent(north), north.key.fingerprint[:-5], NOW)
    with refuses("key", "was not made with the open invitation of 'North'"):
        register(coordinator, "North", south)
    with refuses("key", "was not made with the open invitation of 'North'"):
        coordinator.register("North", read_node_key(north.key.bare, "phone"), north.key.fingerprint, NOW)
    with refuses("ended on 2030-05-15", "rotate"):
        register(coordinator, "North", north, NOW + timedelta(days=14))
    with refuses("nobody called 'East'", "North, South 2"):
        register(coordinator, "East", north)
    assert not coordinator.sites.admitted


def test_a_revoked_site_is_let_in_by_a_new_invitation_and_a_new_key_alone(coordinator, tmp_path):
    north, south = (joined(coordinator, name, tmp_path / name) for name in ("North", "South 2"))
    register(coordinator, "North", north)
    coordinator.revoke("North")
    coordinator.revoke("South 2")
    assert not coordinator.sites.admitted and not list((coordinator.folder / "invitations").iterdir())
    with refuses("key", "North", "never taken again"):
        register(coordinator, "North", north)
    with refuses("no open invitation", "rotate"):
        register(coordinator, "South 2", south)
    coordinator.invite_again("North", NOW)
    with refuses("never taken again"):
        register(coordinator, "North", north)
    again = joined(coordinator, "North", tmp_path / "North", rotate=True)
    register(coordinator, "North", again)
    assert {name: key.bare for name, key in coordinator.sites.admitted.items()} == {"North": again.key.bare}


def test_a_registered_site_stays_connected_until_its_new_key_is_registered(coordinator, tmp_path):
    first = joined(coordinator, "North", tmp_path / "north")
    register(coordinator, "North", first)
    coordinator.invite_again("North", NOW)
    assert coordinator.sites.admitted["North"].bare == first.key.bare
    second = joined(coordinator, "North", tmp_path / "north", rotate=True)
    register(coordinator, "North", second)
    assert coordinator.sites.admitted["North"].bare == second.key.bare != first.key.bare
    with refuses("never taken again"):
        coordinator.register("South 2", first.key, first.key.fingerprint, NOW)


def test_an_older_invitation_of_the_site_is_void(coordinator, tmp_path):
    old = joined(coordinator, "North", tmp_path / "north")
    coordinator.invite_again("North", NOW)
    with refuses("open invitation"):
        register(coordinator, "North", old)


def test_a_new_certificate_is_trusted_as_the_old_one_was(coordinator):
    before, others = coordinator.server_certificate, contents(coordinator.folder)
    later = NOW + timedelta(days=400)
    renewed = coordinator.renew_certificate(later)
    assert renewed.not_valid_after_utc == later + timedelta(days=365)
    assert renewed.public_key() != before.public_key()
    renewed.verify_directly_issued_by(coordinator.authority)
    after = contents(coordinator.folder)
    assert {name for name in after if after[name] != others[name]} == {"server/server.pem"}


def test_without_the_authoritys_key_nothing_is_signed_and_sites_are_still_invited(coordinator):
    (coordinator.folder / "authority" / "authority.key").rename(coordinator.folder.parent / "offline.key")
    with refuses("authority.key: is missing", "bring"):
        coordinator.renew_certificate(NOW)
    coordinator.add("West", NOW)
    assert invitation_of(coordinator, "West").fingerprint == certificate_fingerprint(coordinator.authority)


@pytest.mark.parametrize("taken", ["North", "north", "ｎorth", "SOUTH 2"])
def test_no_two_sites_have_names_that_a_person_takes_for_one(coordinator, taken):
    with refuses("was invited before", "rotate"):
        coordinator.add(taken, NOW)


def test_a_folder_that_was_not_provisioned_is_named(tmp_path):
    with refuses(tmp_path, "cmrfed provision federation=FILE"):
        Coordinator(tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: a\nservers: [https://fed.example.org]\n", "servers.0"),
        ("name: a\nservers: ['fed.example.org:443']\n", "without https:// and port"),
        ("name: a\nservers: ['*.example.org']\n", "servers.0"),
        ("name: a\nservers: [1.2.3.256]\n", "servers.0"),
        ("name: a\nservers: []\n", "servers"),
        ("name: a\nservers: [a]\nport: 0\n", "port"),
        ("name: a\nservers: [a]\nsites: [North, 'north']\n", "sites"),
        ("name: a\nservers: [a]\nsites: ['..']\n", "sites.0"),
        ("name: a\nservers: [a]\nsites: [a/b]\n", "sites.0"),
        ("name: a\nservers: [a]\nsite: [b]\n", "did you mean sites?"),
        ("name: a\n", "servers"),
        ("- a\n", "KEY: VALUE"),
    ],
)
def test_a_mistake_in_the_description_is_one_line_that_names_file_and_key(tmp_path, text, said):
    path = tmp_path / "federation.yaml"
    path.write_text(text)
    with refuses(path, said):
        read_description(path)


def test_sites_connect_to_the_first_server_whatever_kind_of_address_it_is():
    assert described(servers=["2001:DB8::7", "a.example"]).superlink == "[2001:db8::7]:443"
    assert described(servers=["A.Example", "::1"], port=8443).superlink == "a.example:8443"


@given(content=st.binary(), other=st.binary(), spaced=st.sampled_from(["", " ", ":", "-"]))
def test_a_fingerprint_is_known_however_it_was_written_down_and_never_by_its_beginning(content, other, spaced):
    own = fingerprint(content)
    assert same_fingerprint(own.replace("-", spaced).upper(), own)
    assert same_fingerprint(own, fingerprint(other)) == (content == other)
    assert not same_fingerprint(own[:-1], own) and not same_fingerprint("", "")
