"""Each check finds what is wrong and says what to do; what is well is left alone."""

import http.server
import ssl
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from homes import make_home
from provisioned import invitation_of, provisioned

from cmrfed.apps.simulations.flower import free_ports
from cmrfed.cli.site import ServerWatch
from cmrfed.provision import join, reachability, read_connection
from cmrfed.site import checks
from cmrfed.site.checks import check_site


@pytest.fixture
def now():
    return datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def coordinator(tmp_path, now):
    return provisioned(tmp_path / "federation", now, servers=["localhost"], port=free_ports(1)[0])


@pytest.fixture
def home(coordinator, tmp_path, now):
    folder = tmp_path / "home"
    folder.mkdir(mode=0o700)
    make_home(folder, name="North", ledger=str(tmp_path / "ledger" / "ledger.sqlite"))
    join(folder, invitation_of(coordinator, "North", now))
    for path in folder.iterdir():
        path.chmod(0o600)
    return folder


class _Quiet(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.send_response(404)
        self.end_headers()

    def log_message(self, *words):
        pass


@contextmanager
def serving(coordinator, handler=_Quiet):
    """A server at the federation's address, with its certificate as it is now."""
    server = http.server.HTTPServer(("127.0.0.1", coordinator.description.port), handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(coordinator.server / "server.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.handle_error = lambda *_: None  # clients that hang up on a certificate they do not trust
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


def found(home, now):
    return {one.what: one for one in check_site(home, now)}


def mended(home, now):
    """What must be mended, by name."""
    return {one.what for one in check_site(home, now) if one.verdict == "mend"}


def test_a_site_that_is_ready_has_nothing_to_mend(home, coordinator, now):
    with serving(coordinator):
        checked = found(home, now)
    assert {one.what: one.found for one in checked.values() if one.verdict == "mend"} == {}
    assert checked["slices"].found == "4 patients, 9 slices"
    assert checked["server certificate"].found == f"until {now + timedelta(days=365):%Y-%m-%d}"
    assert {"cmrfed", "flwr", "torch", "clock", "disk", "ledger", "GPU"} < checked.keys()


def open_the_home(home):
    home.chmod(0o755)


def open_the_key(home):
    (home / "node.key").chmod(0o640)


def break_the_policy(home):
    (home / "site.yaml").write_text("name: North\nmaximum_epsilon: -1\n")


def cut_the_slices(home):
    path = home / "slices.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def take_the_slices(home):
    (home / "slices.safetensors").unlink()


def ask_for_many_patients(home):
    text = (home / "site.yaml").read_text()
    (home / "site.yaml").write_text(text.replace("minimum_patients: 1", "minimum_patients: 5"))


def forget_the_ledger(home):
    (home / "ledger.head").write_text("1 " + "ab" * 32)


def lose_the_key(home):
    (home / "node.key").write_text("not a key")


def lose_the_authority(home):
    (home / "ca.crt").write_text("not a certificate")


@pytest.mark.parametrize(
    ("spoil", "spoilt", "to_do"),
    [
        (open_the_home, "permissions", "chmod -R go-rwx"),
        (open_the_key, "node key", "chmod 600"),
        (break_the_policy, "policy", "maximum_epsilon"),
        (cut_the_slices, "slices", "prepare the data again"),
        (take_the_slices, "slices", "cmrfed prepare"),
        (ask_for_many_patients, "slices", "minimum_patients in site.yaml is 5"),
        (forget_the_ledger, "ledger", "ledger"),
        (lose_the_key, "node key", "rotate=true"),
        (lose_the_authority, "authority", "join again"),
    ],
)
def test_what_is_wrong_is_named_with_what_to_do(home, coordinator, now, spoil, spoilt, to_do):
    with serving(coordinator):
        before = mended(home, now)
        spoil(home)
        checked = found(home, now)
    assert before == set()
    assert checked[spoilt].verdict == "mend"
    assert to_do in f"{checked[spoilt].found} {checked[spoilt].to_do}"


def test_a_full_disk_is_to_be_mended(home, now, monkeypatch):
    monkeypatch.setattr(checks.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 2**30}))
    assert checks.check_disk(home).verdict == "mend"


def test_a_home_that_is_missing_or_has_not_joined_is_told_so(tmp_path, now):
    assert "permissions" in mended(tmp_path / "nowhere", now)
    (tmp_path / "home").mkdir(mode=0o700)
    make_home(tmp_path / "home")
    assert mended(tmp_path / "home", now) == {"connection"}


def test_a_policy_under_another_name_is_worth_a_look(home, coordinator, now):
    make_home(home, name="Northern", ledger="../ledger/ledger.sqlite")
    checked = checks.check_name(home, read_connection(home))
    assert checked.verdict == "look" and "'North'" in checked.to_do


def test_a_server_that_does_not_answer_is_told_from_one_that_is_another(home, coordinator, now, tmp_path):
    unreachable = found(home, now)["server"]
    assert unreachable.verdict == "mend" and "firewall" in unreachable.to_do
    port = coordinator.description.port
    other = provisioned(tmp_path / "other", now, servers=["localhost"], port=port)
    with serving(other):
        impostor = found(home, now)["server"]
    assert impostor.verdict == "mend" and "certificate is not accepted" in impostor.found
    assert found(home, now).keys().isdisjoint({"clock", "server certificate"})


def test_a_server_under_another_name_is_refused(home, coordinator, now):
    text = (home / "connection.yaml").read_text()
    (home / "connection.yaml").write_text(text.replace("localhost:", "127.0.0.2:"))
    with pytest.MonkeyPatch.context() as patch, serving(coordinator):
        create = reachability.socket.create_connection
        to_loopback = lambda address, *rest, **more: create(("127.0.0.1", address[1]), *rest, **more)  # noqa: E731
        patch.setattr(reachability.socket, "create_connection", to_loopback)
        elsewhere = found(home, now)["server"]
    assert elsewhere.verdict == "mend" and "mismatch" in elsewhere.found


@pytest.mark.parametrize(("days", "verdict"), [(0, "good"), (336, "look"), (366, "mend")])
def test_a_certificate_is_watched_until_it_ends(home, coordinator, now, days, verdict):
    with serving(coordinator):
        checked = found(home, now + timedelta(days=days))["server certificate"]
    assert checked.verdict == verdict
    assert ("rotate" in checked.to_do) == (verdict != "good")


def test_a_certificate_that_has_ended_is_refused_by_tls(home, coordinator, now):
    coordinator.renew_certificate(now - timedelta(days=400))
    with serving(coordinator):
        checked = found(home, now)["server"]
    assert checked.verdict == "mend" and "expired" in checked.found


@pytest.mark.parametrize(("ahead_s", "verdict"), [(-600, "mend"), (-3, "good"), (0, "good"), (3, "good"), (6, "mend")])
def test_a_clock_is_as_near_the_servers_as_flower_needs(ahead_s, verdict, now):
    """Flower refuses a node's request that is dated more than five seconds ahead of the server's clock."""
    from flwr.common.constant import SYSTEM_TIME_TOLERANCE

    assert reachability._CLOCK_TOLERANCE_S < SYSTEM_TIME_TOLERANCE
    checked = reachability.check_clock(reachability.Answer(theirs=now, ours=now + timedelta(seconds=ahead_s)))
    assert checked.verdict == verdict
    assert ("ahead" in checked.found) == (ahead_s > 0)


def test_the_servers_clock_is_read_from_its_answer(home, coordinator, now):
    class _Yesterday(_Quiet):
        def date_time_string(self, timestamp=None):
            return super().date_time_string((now - timedelta(days=1)).timestamp())

    with serving(coordinator, _Yesterday):
        checked = found(home, now)["clock"]
    assert checked.verdict == "mend" and "ahead" in checked.found
    answer = reachability.ask(read_connection(home))
    assert answer.failed, "and nothing is known of a server that is gone"


def test_a_node_that_does_not_reach_its_server_says_why_once_and_again_when_it_is_well(coordinator, home, now, capsys):
    watch = ServerWatch(read_connection(home))
    with serving(coordinator):
        watch.look()
    assert capsys.readouterr().err == "", "all is well"
    watch.look()
    watch.look()
    assert capsys.readouterr().err.count("cannot be reached") == 1
    coordinator.renew_certificate(now - timedelta(days=500))
    with serving(coordinator):
        watch.look()
    assert "certificate has expired" in (said := capsys.readouterr().err) and "call the coordinator" in said
    coordinator.renew_certificate(now)
    with serving(coordinator):
        watch.look()
    assert "answers again" in capsys.readouterr().err
