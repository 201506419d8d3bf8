"""A coordinator's register: whose node is whose, and the last head that each site told, whatever the disk does."""

import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st
from refusals import refuses

from cmrfed.provision import Register


def test_without_a_folder_any_node_may_be_any_site_and_no_head_is_kept():
    register = Register()
    register.keep_heads({"North": "a" * 64})
    assert register.nodes is None and register.heads == {}


def test_nodes_are_read_anew_each_time_and_are_the_owners_alone(tmp_path):
    register = Register(tmp_path)
    register.set_nodes({2**63 + 1: "North", 7: "Süd"})
    assert register.nodes == {2**63 + 1: "North", 7: "Süd"}
    Register(tmp_path).set_nodes({8: "North"})
    assert register.nodes == {8: "North"}
    assert stat.S_IMODE((tmp_path / "nodes.json").stat().st_mode) == 0o600


@given(told=st.lists(st.dictionaries(st.sampled_from("ABC"), st.text("0123456789abcdef", min_size=64, max_size=64))))
def test_of_each_site_the_last_head_is_kept_however_often_others_speak(told, tmp_path_factory):
    folder, last = tmp_path_factory.mktemp("register"), {}
    for heads in told:
        Register(folder).keep_heads(heads)
        last |= heads
    assert Register(folder).heads == last


@pytest.mark.parametrize("text", ["", "[]", '{"1": 2}', "{", "null"])
def test_a_damaged_file_is_named_and_nobody_is_believed(text, tmp_path):
    (tmp_path / "nodes.json").write_text(text)
    (tmp_path / "ledger_heads.json").write_text(text)
    register = Register(tmp_path)
    with refuses("nodes.json", "put the last copy"):
        _ = register.nodes
    with refuses("ledger_heads.json", "put the last copy"):
        _ = register.heads


def test_a_register_that_was_never_written_names_the_command_that_writes_it(tmp_path):
    with refuses("nodes.json", "cmrfed provision admit"):
        _ = Register(tmp_path).nodes
