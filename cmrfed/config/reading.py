"""Plain values, JSON and YAML into stages; every error is one line that names the key."""

import json
import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import yaml
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from cmrfed.config.stage import Stage, UserError
from cmrfed.keys import all_keys, keys_of, nearest

S = TypeVar("S", bound=Stage)


def read_stage(stage: type[S], values: object, where: str = "") -> S:
    """Validate plain values or a Hydra node into a stage. Raises UserError: one line, the first offending key."""
    if isinstance(values, DictConfig):
        values = OmegaConf.to_container(values, resolve=True)
    try:
        return stage.model_validate(values)
    except ValidationError as error:
        raise UserError(f"{where}: " * bool(where) + _what_is_wrong(stage, error.errors()[0])) from None


def _what_is_wrong(stage: type[Stage], error: ErrorDetails) -> str:
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return unknown_key(stage, key)
    found = error["input"]
    shown = "" if isinstance(found, dict | Stage) else f" (found {found!r:.200})"
    likely = nearest(str(found), re.findall("'(.*?)'", error["msg"])) if error["type"] == "literal_error" else []
    hint = f"; did you mean {likely[0]}?" if likely else ""
    return f"{key}: " * bool(key) + error["msg"].removeprefix("Value error, ") + shown + hint


def unknown_key(stage: type[Stage], key: str, groups: Iterable[str] = ()) -> str:
    """That the stage has no such key, and which may be meant, of its own or of `groups`."""
    likely = nearest(key, [*(known.name for known in all_keys(keys_of(stage))), *groups])
    return f"{key}: did you mean {' or '.join(likely)}?" if likely else f"{key}: there is no such key"


def read_stage_json(stage: type[S], path: Path) -> S:
    """Read a stage that was written as JSON. Raises UserError when the file is missing or is not one."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); is this a cmrfed run folder?") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not JSON ({error})") from None
    return read_stage_json_text(stage, text, where=str(path))


def read_stage_json_text(stage: type[S], text: str, where: str) -> S:
    """Read a stage from JSON text; `where` names its origin in errors."""
    return read_stage(stage, read_json_text(text, where), where=where)


def read_json_text(text: str, where: str) -> Any:
    """Plain values from JSON that somebody else may have written. Raises UserError, `where` being its origin."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: is not JSON ({error})") from None


def read_stage_yaml(stage: type[S], path: Path) -> S:
    """Read a stage that a person wrote as YAML. Raises UserError when the file is missing, or is not one."""
    try:
        values = _parsed_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except (yaml.YAMLError, ValueError) as error:
        raise UserError(f"{path}: is not YAML as it should be: {' '.join(str(error).split())}") from None
    if not isinstance(values, DictConfig):
        raise UserError(f"{path}: is no list of KEY: VALUE lines")
    try:
        return read_stage(stage, values, where=str(path))
    except OmegaConfBaseException as error:
        raise UserError(f"{path}: {' '.join(str(error).split())}") from None


@lru_cache(maxsize=16)  # a site reads its policy at every question, and YAML is slow to parse
def _parsed_yaml(text: str) -> DictConfig | ListConfig:
    """What is never written to, so that it can be kept; interpolations are resolved when it is read."""
    _refuse_tricks(text)
    return OmegaConf.create(text)


def _refuse_tricks(text: str) -> None:
    """Raise ValueError for aliases, a few of which can stand for more than memory holds, and for endless depth."""
    depth = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise ValueError(f"has an alias (*{event.anchor}); write the value out")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            raise ValueError(f"is nested deeper than {_DEEPEST} levels")


_DEEPEST = 20
"""Levels of lists and sections; what people write has three or four."""
