"""From an invitation to a registered site on the command line, and what it says where something is wrong."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from provisioned import provisioned

from cmrfed.apps.simulations.flower import free_ports
from cmrfed.config import read_stage_yaml
from cmrfed.console import console
from cmrfed.provision import Coordinator, read_connection
from cmrfed.site import SitePolicy

FINGERPRINT = re.compile(r"(?:[0-9a-f]{4}-){7}[0-9a-f]{4}")


@pytest.fixture
def run(run_cmrfed, tmp_path):
    """The command line, in a folder with a description whose SuperLink does not run."""
    ports = dict(zip(("port", "superlink_port"), free_ports(2), strict=True))
    text = "".join(f"{key}: {value}\n" for key, value in ports.items())
    (tmp_path / "federation.yaml").write_text(f"name: hearts\nservers: [localhost]\nsites: [North, Süd]\n{text}")
    return run_cmrfed


def succeeded(run, *words):
    code, printed = run(*words)
    assert code == 0, printed
    return printed


def mistaken(run, *words):
    """What was wrong: one line, exit code 2."""
    code, printed = run(*words)
    assert code == 2, printed
    (line,) = [line for line in printed.splitlines() if line.startswith("cmrfed ")]
    return line


def test_two_commands_lead_from_an_invitation_to_a_registered_site(run, tmp_path):
    printed = succeeded(run, "provision", "federation=federation.yaml")
    authority = FINGERPRINT.search(printed)[0]
    words = ["invitation=federation/invitations/Süd.txt", "home=home", f"fingerprint={authority}"]
    printed = succeeded(run, "site", "join", *words, "maximum_epsilon=2.5", "yes=true")
    assert "cmrfed site check home=" in printed.splitlines()[-1]
    key = FINGERPRINT.findall(printed)[-1]
    policy = read_stage_yaml(SitePolicy, tmp_path / "home" / "site.yaml")
    assert (policy.name, policy.maximum_epsilon, policy.maximum_delta, policy.minimum_patients) == (
        "Süd",
        2.5,
        2e-4,
        20,
    )
    assert policy.ledger == str(tmp_path / "data" / "cmrfed" / "ledger.sqlite")
    assert read_connection(tmp_path / "home").site == "Süd"
    printed = succeeded(run, "provision", "register", "site=Süd", "key=home/node.pub", f"fingerprint={key}")
    assert "Süd is registered" in printed and "cmrfed provision admit" in printed, "its SuperLink does not run"
    assert list(Coordinator(tmp_path / "federation").sites.admitted) == ["Süd"]
    table = succeeded(run, "provision", "federation=federation.yaml")
    assert re.search(rf"Süd +registered +{key}", table)


def test_an_invitation_and_a_key_may_be_pasted_as_text(run, tmp_path):
    succeeded(run, "provision", "federation=federation.yaml", "out=f")
    text = (tmp_path / "f" / "invitations" / "North.txt").read_text(encoding="utf-8").split()[-1]
    printed = succeeded(run, "site", "join", text, "home=home", "yes=true")
    key, line = FINGERPRINT.findall(printed)[-1], (tmp_path / "home" / "node.pub").read_text().strip()
    succeeded(run, "provision", "register", "folder=f", "site=North", f"key={line}", f"fingerprint={key.upper()}")


def test_a_hospital_is_asked_on_a_terminal_and_its_policy_is_left_as_it_is(run, tmp_path, monkeypatch):
    succeeded(run, "provision", "federation=federation.yaml")
    answers = iter(["n", "y", "3", "", "30"])
    monkeypatch.setattr(console, "_force_terminal", True)
    monkeypatch.setattr("builtins.input", lambda *_: next(answers))
    join = ["site", "join", "invitation=federation/invitations/North.txt", "home=home"]
    code, printed = run(*join)
    assert code == 2 and "nothing was written" in printed
    assert not (tmp_path / "home").exists()
    succeeded(run, *join)
    policy = read_stage_yaml(SitePolicy, tmp_path / "home" / "site.yaml")
    assert (policy.maximum_epsilon, policy.maximum_delta, policy.minimum_patients) == (3.0, 2e-4, 30)
    before = (tmp_path / "home" / "site.yaml").read_bytes()
    assert "nothing was changed" in succeeded(run, *join, "yes=true", "maximum_epsilon=9")
    assert (tmp_path / "home" / "site.yaml").read_bytes() == before


def test_a_coordinator_whose_fingerprint_is_another_is_not_joined(run, tmp_path):
    succeeded(run, "provision", "federation=federation.yaml")
    words = ["invitation=federation/invitations/North.txt", "home=home", f"fingerprint={'0000-' * 7}0000"]
    assert "do not join" in mistaken(run, "site", "join", *words, "yes=true")
    assert not (tmp_path / "home").exists()


def test_a_revoked_site_is_out_of_the_book_and_whoever_revokes_is_told_that_the_superlink_was_not(run, tmp_path):
    succeeded(run, "provision", "federation=federation.yaml")
    line = mistaken(run, "provision", "revoke", "North")
    assert "until it is told, it may let 'North' in" in line and "cmrfed provision admit" in line
    assert Coordinator(tmp_path / "federation").sites.site("North").state == "revoked"


def test_a_server_gets_a_new_certificate_and_a_site_a_new_invitation(run, tmp_path):
    made = provisioned(tmp_path / "federation", datetime.now(UTC) - timedelta(days=300))
    old = made.invitation("North").read_text()
    printed = succeeded(run, "provision", "rotate")
    ends = made.server_certificate.not_valid_after_utc
    assert ends > datetime.now(UTC) + timedelta(days=364) and f"until {ends:%Y-%m-%d}" in printed
    assert "ended on" in mistaken(run, "site", "join", "invitation=federation/invitations/North.txt", "home=home")
    assert "invitations/North.txt" in succeeded(run, "provision", "rotate", "site=North")
    assert made.invitation("North").read_text() != old
    succeeded(run, "site", "join", "invitation=federation/invitations/North.txt", "home=home", "yes=true")
    assert "invitations/West.txt" in succeeded(run, "provision", "add", "West")


def test_a_folder_that_holds_something_else_is_left_alone(run, tmp_path):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "thesis.txt").write_text("mine")
    assert "is not empty" in mistaken(run, "provision", "federation=federation.yaml", "out=here")
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["provision", "federation=nowhere.yaml"], "nowhere.yaml: cannot be read"),
        (["provision", "add", "site=../x"], "site"),
        (["provision", "admit"], "is no coordinator's folder"),
        (["provision", "register", "site=North", "fingerprint=1"], "key"),
        (["site", "join", "invitation=nowhere.txt", "home=h"], "nowhere.txt cannot be read"),
        (["site", "join", "invitation=federation.yaml", "home=h"], "holds no whole invitation"),
    ],
)
def test_a_mistake_is_one_line(run, words, said):
    assert said in mistaken(run, *words)


def test_what_must_be_mended_at_a_site_ends_in_exit_code_1(run, tmp_path):
    succeeded(run, "provision", "federation=federation.yaml")
    succeeded(run, "site", "join", "federation/invitations/North.txt", "home=home", "yes=true")
    code, printed = run("site", "check", "home")
    assert code == 1
    assert "to mend: slices, server" in printed
