"""The command that repeats a run, made from its run.json."""

import json
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from cmrfed.config import RunConfig
from cmrfed.keys import find_key


def repeat_command(config: RunConfig) -> str:
    """`cmrfed simulate` with every key of the configuration, so that no default has a say."""
    overrides = [
        "'~data.sources'",
        *(shlex.quote(f"{key}={_written(key, value)}") for key, value in _leaves(config.model_dump(mode="json"))),
    ]
    return " \\\n  ".join(["cmrfed simulate", *overrides])


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _written(name: str, value: Any) -> str:
    """A path as it is; any other value as Hydra's override grammar has it: JSON, strings in double quotes too."""
    key = find_key(RunConfig, name)
    return value if key and key.as_written and value is not None else json.dumps(value, ensure_ascii=False)
