"""`cmrfed COMMAND [Hydra overrides]`: a Hydra config for each command, and one plain line for what a user can mend.

A command is a function in one of this folder's files, found in `COMMANDS` by its name of one word or two. Nothing heavy
is imported before the command runs, so that help does not wait for torch. A command that works on one folder takes it
as a word of its own, which Hydra never parses: folders may have any name.
"""

import functools
import importlib
import re
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import hydra
from omegaconf import MISSING, DictConfig, OmegaConf

from cmrfed import __version__
from cmrfed.config import UserError
from cmrfed.console import console, errors


@dataclass(frozen=True)
class Command:
    """`function` of module `cmrfed.cli.<module>` takes the command's plain configuration; `config` names its YAML.
    `literal` are keys whose values Hydra never parses; a word that is no key=value gives the first of them."""

    module: str
    function: str
    config: str
    what: str
    literal: tuple[str, ...] = ()


COMMANDS = {
    "simulate": Command("runs", "simulate", "simulate", "the whole federation on one machine, from volumes to report"),
    "prepare": Command("runs", "prepare", "prepare", "read and prepare a hospital's own volumes into its home folder"),
    "pretrain": Command("runs", "pretrain", "pretrain", "train a generator on the built-in phantom; costs no privacy"),
    "generate": Command("runs", "generate", "generate", "synthetic images for a folder of masks, as NIfTI pairs"),
    "evaluate": Command("runs", "evaluate", "evaluate", "measure fidelity, utility and leakage of a run"),
    "audit": Command("audit", "audit", "audit", "train with canaries and bound epsilon from below"),
    "report": Command("runs", "report", "report", "write report.html again from a run's results"),
    "report compare": Command(
        "runs", "compare", "report_compare", "several runs side by side in one page", literal=("run", "out")
    ),
    "release": Command(
        "runs", "release", "release", "a generator with its model card, data sheet and terms, if it may"
    ),
    "reader-study": Command(
        "reader_study",
        "make",
        "reader_study",
        "a page on which people tell real slices from synthetic",
        literal=("out",),
    ),
    "reader-study score": Command(
        "reader_study",
        "score",
        "reader_study_score",
        "how well the readers of such a page told them apart",
        literal=("answers", "key"),
    ),
    "ledger show": Command("ledger", "show", "ledger_show", "what a site's patients have spent, row by row and in all"),
    "ledger verify": Command("ledger", "verify", "ledger_verify", "whether a site's privacy ledger is whole"),
    "ledger export": Command("ledger", "export", "ledger_export", "a site's privacy ledger as one file, .json or .csv"),
    "privacy calibrate": Command(
        "privacy", "calibrate", "privacy_calibrate", "the noise that keeps a run within epsilon"
    ),
    "privacy epsilon": Command(
        "privacy", "epsilon", "privacy_epsilon", "what a run costs each patient, and what it means"
    ),
    "data verify": Command(
        "data",
        "verify",
        "data_verify",
        "read a folder of volumes once: what there is, and what is wrong",
        literal=("data.root", "out"),
    ),
    "data preview": Command(
        "data",
        "preview",
        "data_preview",
        "a contact sheet of a folder's patients, for the hospital's own eyes",
        literal=("data.root", "out"),
    ),
    "data phantom": Command(
        "data", "phantom", "data_phantom", "write the built-in phantom to a folder", literal=("out", "vendor")
    ),
}
_FOR_HYDRA = re.compile(r"-|[+~]{0,2}(hydra/)?[A-Za-z_][\w.@:]*=|~[A-Za-z_][\w.@:]*$")
"""Options, key=value with what Hydra puts before a key, and ~key. A folder named like one is written ./key=value."""
_TAKE_A_VALUE = ("--cfg", "-c", "--package", "-p", "--info", "-i", "--config-name", "-cn", "--config-dir", "-cd")
_USAGE = "\n".join(
    [
        f"cmrfed {__version__}: one generator of synthetic cardiac MRI, trained by many hospitals, private by patient.",
        "",
        "  cmrfed COMMAND [key=value ...]",
        "",
        *(f"  {name:<18} {command.what}" for name, command in COMMANDS.items()),
        "",
        "cmrfed COMMAND --help lists the keys; --cfg job prints the composed configuration; -m sweeps over values.",
    ]
)


def main() -> None:
    """Entry point of the console script."""
    words = sys.argv[1:] or ["--help"]
    name = next((name for name in (" ".join(words[:2]), words[0]) if name in COMMANDS), None)
    if name:
        _hydra_main(name, COMMANDS[name], words[len(name.split()) :])
    elif words[0] in ("--help", "-h", "help"):
        console.print(_USAGE, markup=False)
    elif words[0] == "--version":
        console.print(__version__)
    else:
        errors.print(f"cmrfed: {_unknown(words)}", markup=False)
        sys.exit(2)


def _unknown(words: list[str]) -> str:
    """What was not understood; the first word of a command of two leads to its second words."""
    seconds = [name for name in COMMANDS if name.split()[0] == words[0]]
    return f"no command {' '.join(words[: 2 if seconds else 1])!r}; commands are {', '.join(seconds or COMMANDS)}"


def _hydra_main(name: str, command: Command, words: list[str]) -> None:
    """Let Hydra compose the command's config and call it; a UserError becomes one line and exit code 2."""

    def run(config: DictConfig) -> None:
        function = getattr(importlib.import_module(f"cmrfed.cli.{command.module}"), command.function)
        try:
            with _ended_in_order():
                function(plain(config, literal))
        except UserError as error:
            _fail(name, error)
        except KeyboardInterrupt as interrupt:
            number = next((one for one in interrupt.args if isinstance(one, signal.Signals)), signal.SIGINT)
            what = "interrupted" if number == signal.SIGINT else f"ended by {number.name}"
            kept = getattr(interrupt, "__notes__", ())  # by `if_interrupted`
            errors.print(f"cmrfed {name}: {'; '.join([what, *kept])}", markup=False)
            sys.exit(128 + number)

    try:
        literal, overrides = _take_literal(words, command.literal)
    except UserError as error:
        _fail(name, error)
    sys.argv = [f"cmrfed {name}", *overrides]
    decorate: Callable[..., Any] = hydra.main(
        version_base="1.3", config_path=str(configs_folder()), config_name=command.config
    )
    decorate(run)()


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """Let what a job scheduler, `kill` or a closed terminal sends end a command as Ctrl-C does. Left to themselves
    these signals end Python at once, and the processes it started go on. One that is ignored (nohup) stays so."""
    ends = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) == signal.SIG_DFL]
    for number in ends:
        signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number in ends:
            signal.signal(number, signal.SIG_DFL)


def _interrupt(number: int, _: FrameType | None) -> NoReturn:
    """Said once is enough: a second such signal must not cut the clearing up short."""
    signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt(signal.Signals(number))


def _fail(name: str, error: UserError) -> NoReturn:
    errors.print(f"cmrfed {name}: {error}", style="red", markup=False)
    sys.exit(error.exit_code)


def _take_literal(words: list[str], keys: tuple[str, ...]) -> tuple[dict[str, str], list[str]]:
    """Values by key for `keys`, and the words left for Hydra. Raises UserError when a key is given twice or empty."""
    values: dict[str, str] = {}
    rest: list[str] = []
    for previous, word in pairwise(["", *words]):
        key, equals, value = word.partition("=")
        if not equals or key not in keys:
            if not keys or previous in _TAKE_A_VALUE or _FOR_HYDRA.match(word):
                rest.append(word)
                continue
            key, value = keys[0], word
        if not value or key in values:
            found = f"twice, {values[key]!r} and {value!r}" if key in values else "without a value"
            raise UserError(f"{key}: is given {found}; give it once, in quotes if it has spaces")
        values[key] = value
    return values, rest


def configs_folder() -> Path:
    """The configs beside the package in a clone, or inside it in a wheel."""
    package = Path(__file__).resolve().parents[1]
    return next(folder for folder in (package.parent / "configs", package / "configs") if folder.is_dir())


def plain(config: DictConfig, literal: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The composed config as plain values, with `literal` ones by dotted key put in as they are.

    Raises UserError naming a value that was left open.
    """
    missing = sorted(OmegaConf.missing_keys(config) - set(literal or {}))
    if missing:
        raise _no_value(missing[0])
    try:
        values = OmegaConf.to_container(config, resolve=True)
    except Exception as error:  # OmegaConf's interpolation errors share no public base
        raise UserError(f"config: {' '.join(str(error).split())}") from None
    assert isinstance(values, dict)
    if left_open := sorted(set(_left_open(values)) - set(literal or {})):
        raise _no_value(left_open[0])
    for dotted, value in (literal or {}).items():
        *parents, key = dotted.split(".")
        functools.reduce(lambda node, parent: node[parent], parents, values)[key] = value
    return {str(key): value for key, value in values.items()}


def _left_open(values: Mapping[Any, Any], parents: str = "") -> Iterator[str]:
    """Dotted keys of what an interpolation left open, such as an environment variable that is not set."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _left_open(value, f"{parents}{key}.")
        elif value == MISSING:
            yield f"{parents}{key}"


def _no_value(key: str) -> UserError:
    return UserError(f"config: {key} has no value; give {key}=VALUE")
