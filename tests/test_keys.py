"""Keys are found by their dotted names, and the nearest is named to whoever missed one."""

import typing

import pytest
from pydantic import Field

from cmrfed.cli.commands import COMMANDS
from cmrfed.config import RunConfig, Stage
from cmrfed.keys import AsWritten, all_keys, find_key, keys_of, nearest

KEYS = [key.name for key in all_keys(keys_of(RunConfig))]


class Inner(Stage):
    """What is inside."""

    folder: AsWritten | None = Field(default=None, description="a folder")
    kinds: tuple[str, ...] = Field(default=(), description="kinds")


class Outer(Stage):
    """What is outside."""

    inner: Inner | None = None
    folders: dict[str, AsWritten] = Field(default={}, description="folders by name")
    files: tuple[AsWritten, ...] = Field(default=(), description="files")
    word: str = Field(default="", description="a word")


def test_all_keys_are_there_each_section_before_its_own():
    names = ["inner", "inner.folder", "inner.kinds", "folders", "files", "word"]
    assert [key.name for key in all_keys(keys_of(Outer))] == names
    assert find_key(Outer, "inner").section is Inner
    assert find_key(Outer, "inner.nothing") is None
    assert find_key(Outer, "word.nothing") is None


def test_what_is_taken_as_written_is_declared_through_every_type():
    written = {name for name in ("inner.folder", "folders.any", "files", "word") if find_key(Outer, name).as_written}
    assert written == {"inner.folder", "folders.any", "files"}
    assert find_key(Outer, "inner.folder").optional
    assert not find_key(Outer, "files").optional
    assert find_key(Outer, "files").listed


@pytest.mark.parametrize("command", COMMANDS)
def test_every_free_text_of_every_command_is_taken_as_written(command):
    """A new key that is a path, or words, must say so: only texts of a given form, and names in a table, are left to
    Hydra."""
    for key in all_keys(keys_of(COMMANDS[command].stage)):
        kinds = {key.field.annotation, *typing.get_args(key.field.annotation)}
        if typing.get_origin(key.field.annotation) is dict:
            assert key.named("any").as_written, key.name
        elif str in kinds and not (key.as_written or key.choices):
            assert any(getattr(limit, "pattern", None) for limit in key.field.metadata), key.name


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("privacy.epsilon", ["privacy.target_epsilon"]),
        ("epsilon", ["privacy.target_epsilon"]),
        ("sead", ["seed"]),
        ("privcy.delta", ["privacy.delta"]),
        ("federation.round", ["federation.rounds"]),
        ("training.steps", ["pretraining.steps", "training.local_steps"]),
        ("Privacy.Delta", ["privacy.delta"]),
        ("colour", []),
    ],
)
def test_the_nearest_keys_are_named_likeliest_first_and_none_for_want_of_any(written, meant):
    assert nearest(written, KEYS) == meant


@pytest.mark.parametrize("name", KEYS)
def test_a_key_with_one_letter_left_out_is_found_again(name):
    assert name in nearest(name[:-2] + name[-1], KEYS)
