"""The command that repeats a run, made from its run.json."""

import json
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from cmrfed.config import RunConfig


def repeat_command(config: RunConfig) -> str:
    """`cmrfed simulate` with every key of the configuration, so that no default has a say."""
    overrides = [
        "'~data.sources'",
        *(shlex.quote(f"++{key}={_hydra(value)}") for key, value in _leaves(config.model_dump(mode="json"))),
    ]
    return " \\\n  ".join(["cmrfed simulate", *overrides])


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _hydra(value: Any) -> str:
    """A value as Hydra's override grammar has it: JSON, whose strings in double quotes it reads as well."""
    return json.dumps(value, ensure_ascii=False)
