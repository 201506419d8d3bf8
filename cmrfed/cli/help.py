"""What `cmrfed COMMAND --help` prints: how the command is used, and each key with its default and what it means.

The words are the fields' descriptions and the stages' docstrings; there is no second list of keys to keep.
"""

import inspect
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from omegaconf import MISSING

from cmrfed.composition import Job, options
from cmrfed.config import Stage
from cmrfed.keys import Key, find_key, keys_of

_MORE = (
    "--help KEY and --help SECTION show that alone; --cfg job prints the whole configuration. Exit codes: 0 done; 1 "
    "problems were found; 2 one line says what to correct; 3 a run ended early; 130 interrupted."
)
_WIDEST = 100
"""Columns that are still read with ease."""
_INDENT = 28
"""Columns of a key and its default, before what it means."""
_LONGEST_DEFAULT = 40


def help_lines(job: Job, stage: type[Stage], shown: Sequence[str], introduced: bool, width: int) -> Iterator[str]:
    """Lines for a terminal of that width. `shown` are the dotted names of keys and sections; none stands for all."""
    width = min(width, _WIDEST)
    if introduced:
        yield from job.help.rstrip().splitlines()
    keys = [key for name in shown if (key := find_key(stage, name))] or list(keys_of(stage))
    if own := [key for key in keys if not key.section]:
        yield from ("", "Any key can be set as KEY=VALUE, one of a section as SECTION.KEY=VALUE:")
    for key in own:
        yield from _key(key.name, key, job, width)
    for group in set(job.groups) - set(stage.model_fields) if introduced else ():
        yield from _row(
            f"{group}={job.groups[group] or 'null'}", f"sets keys of several sections: {_or(options(group))}", width
        )
    for key in keys:
        yield from _section(key, job, width)
    if introduced:
        yield ""
        yield from textwrap.wrap(_MORE, width)


def _section(key: Key, job: Job, width: int) -> Iterator[str]:
    """A stage's keys, and after them those of the stages in it, as far as the config has them."""
    if not key.section:
        return
    yield ""
    what = _lower(inspect.getdoc(key.section) or "")
    yield from textwrap.wrap(f"{key.name}: {what}", width, subsequent_indent="    ")
    if len(choices := options(key.name)) > 1:
        yield from _row(
            f"{key.name}={job.groups.get(key.name) or 'null'}", f"sets the keys below: {_or(choices)}", width
        )
    if _value(key, job) is None:
        yield from _row(f"{key.name}=null", "off; any key below turns it on", width)
    below = list(key.below())
    for one in below:
        if not one.section:
            yield from _key(one.name.removeprefix(key.name), one, job, width)
    values = _value(key, job)
    idle = key.section.idle(values) if isinstance(values, Mapping) and issubclass(key.section, Stage) else ()
    for one in below:
        if _value(one, job) != MISSING and one.name.rpartition(".")[2] not in idle:
            yield from _section(one, job, width)


def _key(shown: str, key: Key, job: Job, width: int) -> Iterator[str]:
    words = [key.field.description or "", f"({_or(key.choices)})" if key.choices else ""]
    yield from _row(f"{shown}={_default(key, job)}", " ".join(filter(None, words)), width)


def _row(left: str, right: str, width: int) -> Iterator[str]:
    """Two columns; what is too long for the left one has a line of its own."""
    lines = textwrap.wrap(right, width - _INDENT - 2, break_on_hyphens=False)
    if len(left) > _INDENT - 2:
        yield f"  {left}"
        left = ""
    for number, line in enumerate(lines or [""]):
        yield f"  {left if not number else '':<{_INDENT - 2}}  {line}".rstrip()


def _default(key: Key, job: Job) -> str:
    """What a key is without being set; "..." where it must be set. The keys of a section that is off are not in the
    composed config."""
    value = _value(key, job)
    value = key.default if value == MISSING else value
    return "..." if value == MISSING else _written(value)


def _value(key: Key, job: Job) -> Any:
    """In the composed config, which need not have the key."""
    value: Any = job.values
    for word in key.name.split("."):
        value = value.get(word, MISSING) if isinstance(value, Mapping) else MISSING
    return value


def _written(value: Any) -> str:
    """As it would be given on the command line, cut where that is long."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, list | tuple):
        return _cut(f"[{','.join(map(_written, value))}]")
    if isinstance(value, Mapping):
        return _cut(f"{{{','.join(f'{name}:{_written(one)}' for name, one in value.items())}}}")
    return _cut(f"{value:g}" if isinstance(value, float) else str(value))


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_DEFAULT else f"{text[: _LONGEST_DEFAULT - 3]}..."


def _lower(documentation: str) -> str:
    """The first paragraph, within a sentence."""
    text = " ".join(documentation.partition("\n\n")[0].split())
    return text[:1].lower() + text[1:]


def _or(choices: Sequence[str]) -> str:
    return " | ".join(choices)
