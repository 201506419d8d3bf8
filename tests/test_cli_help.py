"""Help says what every key means, in 80 columns, from the one place where a key is declared."""

import re

import pytest

from cmrfed.cli.commands import COMMANDS
from cmrfed.console import console
from cmrfed.keys import all_keys, keys_of


@pytest.fixture
def helped(run_cmrfed, monkeypatch):
    """Help of a command in a terminal of 80 columns."""

    def call(name, *words):
        monkeypatch.setattr(console, "_width", 80)
        code, printed = run_cmrfed(*name.split(), *words, "--help")
        assert code == 0
        return printed

    return call


@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits_a_terminal_and_says_how_the_command_is_used_and_ends(helped, command):
    printed = helped(command)
    assert max(map(len, printed.splitlines())) <= 80
    assert printed.startswith(f"cmrfed {command}")
    assert f"  cmrfed {command} " in printed
    assert "Exit codes: 0 done" in " ".join(printed.split())


@pytest.mark.parametrize("command", COMMANDS)
def test_every_key_of_every_command_says_what_it_means(command):
    for key in all_keys(keys_of(COMMANDS[command].stage)):
        assert key.section.__doc__ if key.section else key.field.description, key.name


def test_help_shows_default_meaning_and_choices_of_a_key(helped):
    printed = " ".join(helped("simulate").split())
    assert ".target_epsilon=8 each patient's budget over the whole run; smaller is more private" in printed
    assert ".accountant=prv how epsilon is counted; rdp is looser (prv | rdp)" in printed
    assert re.search(r"generator=flow sets the keys below: [\w |]*\bddpm \| edm \| flow\b", printed)
    assert "recipe=local sets keys of several sections: distributed | local | none" in printed
    assert ".batch_size=192 without privacy: slices in a step" in printed, "a key that this recipe does not set"
    assert "out=... " in " ".join(helped("generate").split()), "a key that must be set"


def test_help_follows_what_is_chosen(helped):
    assert ".sources={mnms:.}" in helped("simulate", "data=mnms")
    assert ".mode=none" in helped("simulate", "recipe=none")
    assert "data.phantom:" in helped("simulate")
    assert "data.phantom:" not in helped("simulate", "data=mnms")


@pytest.mark.parametrize(
    ("command", "sections"),
    [
        ("generate", {"sampling"}),
        ("prepare", {"data", "preprocessing"}),
        ("privacy epsilon", {"privacy", "privacy.adaptive"}),
        ("canary-audit", {"canary_audit", "privacy", "privacy.adaptive", "training", "generator"}),
        ("ledger show", set()),
    ],
)
def test_only_the_sections_that_matter_are_shown(helped, command, sections):
    keys = helped(command).partition("Any key can be set")[2]
    assert set(re.findall(r"^([a-z_.]+): ", keys, re.MULTILINE)) == sections


def test_one_section_or_key_can_be_asked_for(helped):
    printed = helped("simulate", "federation", "seed")
    assert ".rounds=4" in printed
    assert "seed=0" in printed
    assert "epsilon" not in printed


def test_exit_codes_are_listed_with_the_commands(run_cmrfed):
    printed = run_cmrfed("--help")[1]
    assert max(map(len, printed.splitlines())) <= 90
    for code in ("0", "1", "2", "130"):
        assert re.search(rf"^  {code} +\w", printed, re.MULTILINE)
