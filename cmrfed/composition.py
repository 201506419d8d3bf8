"""The words behind a command: its options, text that stays as it is written, and overrides from which Hydra composes.

What Hydra composes, from the chosen options of each group and the overrides, is laid over the defaults of the command's
stage, which alone holds them.

A key whose value is a path is declared so in its stage (`cmrfed.keys.AsWritten`), and its value goes around Hydra's
grammar: folders may have any name. All other values are in that grammar, so that `-m` sweeps over them.
"""

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import MISSING, DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from cmrfed import (
    apps,
    cache,  # noqa: F401 (configs ask for the folder)
)
from cmrfed.config import Stage, UserError, read_stage, unknown_key
from cmrfed.keys import Key, defaults_of, find_key, nearest

S = TypeVar("S", bound=Stage)

_KEY_AND_VALUE = re.compile(r"([+~]{0,2})([A-Za-z_][\w.@:-]*)=(.*)", re.DOTALL)
_WORDS = re.compile(r"[\w.,-]+")
_WITHOUT_KEY = re.compile(r"~[A-Za-z_][\w.@:]*")
_LONGEST_LABEL = 100
"""Characters of what was swept in a folder's name, which may have 255."""


@dataclass
class Words:
    """What was written: `as_written` by dotted key, `overrides` for Hydra, and options."""

    overrides: list[str] = field(default_factory=list)
    as_written: dict[str, Any] = field(default_factory=dict)
    help: bool = False
    sections: list[str] = field(default_factory=list)
    sweep: bool = False
    show: bool = False


@dataclass(frozen=True)
class Job:
    """One run of a command: its composed configuration, which option of every group it has, and what was swept."""

    config: DictConfig
    groups: dict[str, str | None]
    help: str
    label: str

    @cached_property
    def values(self) -> dict[str, Any]:
        """Plain, as far as what is asked for can be found."""
        try:
            return plain(self.config)
        except UserError:
            return plain(self.config, resolve=False)


def configs_folder() -> Path:
    """Beside the apps, in a clone and in a wheel."""
    return apps.FOLDER / "configs"


def read_words(words: Sequence[str], stage: type[Stage], alone: str | None) -> Words:
    """Sort a command's words; one without a key is the value of `alone`. Raises UserError for one that is nothing."""
    found = Words(help=not {"-h", "--help"}.isdisjoint(words), sweep=not {"-m", "--multirun"}.isdisjoint(words))
    rest = iter(words)
    for word in rest:
        if word in ("-h", "--help", "-m", "--multirun"):
            continue
        if word in ("-c", "--cfg"):
            found.show = True
            if next(rest, "") != "job":
                raise UserError(f"{word}: there is only {word} job")
        elif found.help and find_key(stage, word):
            found.sections.append(word)
        else:
            _sort(word, stage, alone, found)
    return found


def _sort(word: str, stage: type[Stage], alone: str | None, found: Words) -> None:
    match = _KEY_AND_VALUE.fullmatch(word)
    key = find_key(stage, match[2] if match else alone or "")
    if match and not (key and key.as_written):
        prefix, name, value = match.groups()
        found.overrides.append(_override(prefix, name, value, stage, found.sweep))
    elif key and not word.startswith("-"):
        _keep(key, match[3] if match else word, found, named=bool(match))
    elif _WITHOUT_KEY.fullmatch(word):
        found.overrides.append(word)
    elif word.startswith("-"):
        raise UserError(f"{word}: there is no such option; there are --help, --cfg job and -m")
    else:
        raise UserError(f"{word!r} is no key=value; --help lists the keys")


def _override(prefix: str, name: str, value: str, stage: type[Stage], sweep: bool) -> str:
    """A value may be set whether or not a YAML has its key: stages decide which keys there are."""
    key = find_key(stage, name)
    if not key and not options(name):
        raise UserError(unknown_key(stage, name, _groups()))
    if key and key.section and not options(name) and _WORDS.fullmatch(value) and value != "null":
        raise UserError(_misplaced(name, value))
    if key and key.listed and not sweep and value != "null" and not value.startswith(("[", "$")):
        value = f"[{value}]"
    is_group = "." not in name and bool(options(name))
    return f"{prefix}{name}={value}" if is_group or "~" in prefix else f"++{name}={value}"


def _misplaced(section: str, value: str) -> str:
    """What to say to a word in the place of a section's keys."""
    meant = [group for group in _groups() if set(value.split(",")) <= set(options(group))]
    hint = f"did you mean {meant[0]}={value}?" if meant else f"--help {section} lists them"
    return f"{section}: is a section of keys, found {value!r}; {hint}"


def _keep(key: Key, value: str, found: Words, named: bool) -> None:
    """The last value counts, as of every key; but of two words without a key neither is meant to replace the other."""
    if not value:
        raise UserError(f"{key.name}: is given without a value")
    if key.listed:
        found.as_written.setdefault(key.name, []).append(value)
    elif not named and key.name in found.as_written:
        raise UserError(
            f"{key.name}: is given twice, {found.as_written[key.name]!r} and {value!r}; give it once, in quotes if it "
            "has spaces"
        )
    else:
        found.as_written[key.name] = None if key.optional and value == "null" else value


def compose_jobs(config_name: str, stage: type[Stage], words: Words) -> list[Job]:
    """One job, or with -m one for each combination of what is swept. Raises UserError for what cannot be composed."""
    with initialize_config_dir(str(configs_folder()), version_base="1.3"):
        parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
        parsed = [_parse(override, parser) for override in words.overrides]
        return [_compose(config_name, stage, chosen, label) for chosen, label in _combinations(parsed, words.sweep)]


def _parse(override: str, parser: OverridesParser) -> Override:
    try:
        return parser.parse_override(override)
    except HydraException:
        name, _, value = override.lstrip("+~").partition("=")
        raise UserError(f"{name}: {value!r} cannot be read; put it in quotes twice: '{name}=\"...\"'") from None


def _combinations(parsed: Sequence[Override], sweep: bool) -> Iterator[tuple[list[str], str]]:
    """Overrides of each job, and what was swept in a form that can name a folder."""
    choices = [list(_choices(override, sweep)) for override in parsed]
    for chosen in itertools.product(*choices):
        label = re.sub(r"[\[\]{}'\"]", "", "_".join(part for _, part in chosen if part))
        yield [text for text, _ in chosen], re.sub(r"[^\w.=+-]+", "-", label)[:_LONGEST_LABEL]


def _choices(override: Override, sweep: bool) -> Iterator[tuple[str, str]]:
    name = override.key_or_group
    if not override.is_sweep_override():
        yield str(override.input_line), ""
    elif not sweep or not override.is_discrete_sweep():
        raise UserError(f"{name}: is given several values, {override.get_value_string()}; -m makes a run of each")
    else:
        for value in override.sweep_string_iterator():
            yield f"{override.get_key_element()}={value}", f"{name}={value}"


def _compose(config_name: str, stage: type[Stage], overrides: list[str], label: str) -> Job:
    for override in overrides:
        _check_option(override)
    try:
        config = compose(config_name, [_for_hydra(one) for one in overrides], return_hydra_config=True)
    except (HydraException, OmegaConfBaseException) as error:
        elsewhere = re.match(r"Could not override '(\w+)'", str(error))
        raise UserError(unknown_key(stage, elsewhere[1]) if elsewhere else _line(error)) from None
    groups = {name: option for name, option in config.hydra.runtime.choices.items() if "/" not in name}
    text = config.hydra.help.template
    with open_dict(config):
        del config["hydra"]
    whole = DictConfig(defaults_of(stage))
    whole.merge_with(config)
    return Job(whole, groups, text, label)


def _check_option(override: str) -> None:
    """That a group has the option; Hydra names the groups of all the world beside it."""
    name, _, option = override.lstrip("+").partition("=")
    known = options(name)
    if known and option not in (*known, "null") and not option.startswith(("[", "$")):
        likely = nearest(option, known)[:1]
        hint = f"did you mean {likely[0]}? " if likely else ""
        raise UserError(f"{name}: there is no {option!r}; {hint}Options are {', '.join(known)}")


def _for_hydra(override: str) -> str:
    """No option of a group is `group=null`, as help shows it; Hydra writes it `~group`."""
    name, _, option = override.lstrip("+").partition("=")
    return f"~{name}" if option == "null" and options(name) else override


def _groups() -> list[str]:
    return sorted(path.name for path in configs_folder().iterdir() if path.is_dir())


def options(group: str) -> list[str]:
    """Of a group of configs, by name; none where there is no such group."""
    return sorted(path.stem for path in (configs_folder() / group).glob("*.yaml"))


def option(group: str, name: str) -> dict[str, Any]:
    """What one of them sets, as its YAML has it."""
    return dict(yaml.safe_load((configs_folder() / group / f"{name}.yaml").read_text(encoding="utf-8")))


def plain(config: DictConfig, resolve: bool = True) -> dict[str, Any]:
    """The composed config as plain values. Raises UserError naming an interpolation that cannot be resolved."""
    try:
        values: Any = OmegaConf.to_container(config, resolve=resolve)
    except OmegaConfBaseException as error:
        raise error.__cause__ if isinstance(error.__cause__, UserError) else UserError(_line(error)) from None
    return {str(name): value for name, value in values.items()}


def read_job(job: Job, stage: type[S], as_written: Mapping[str, Any]) -> S:
    """The job as its stage; a sweep's run is named by what was swept. Raises UserError naming a value that was left
    open, or is none that the stage allows."""
    values = plain(job.config)
    put_in(values, as_written)
    _refuse_left_open(values, stage)
    if job.label and "name" in stage.model_fields:
        values["name"] = "_".join(filter(None, [values.get("name"), job.label]))
    return read_stage(stage, values)


def _refuse_left_open(values: Mapping[str, Any], stage: type[Stage]) -> None:
    """Raise UserError naming a value that was left open, and what it is."""
    for name in _left_open(values):
        key = find_key(stage, name)
        what = f", {key.field.description}" if key and key.field.description else ""
        raise UserError(f"{name}: has no value; give {name}=VALUE{what}")


def put_in(values: dict[Any, Any], as_written: Mapping[str, Any]) -> None:
    """Set values by dotted key, making the sections that are not there."""
    for name, value in as_written.items():
        *parents, last = name.split(".")
        node = values
        for parent in parents:
            if not isinstance(node.get(parent), dict):  # off, or left open
                node[parent] = {}
            node = node[parent]
        node[last] = value


def _left_open(values: Mapping[Any, Any], parents: str = "") -> Iterator[str]:
    """Dotted keys without a value: mandatory ones, and interpolations such as of an environment variable not set."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _left_open(value, f"{parents}{key}.")
        elif value == MISSING:
            yield f"{parents}{key}"


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
