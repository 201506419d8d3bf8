"""`cmrfed COMMAND [KEY=VALUE ...]`: a config for each command, and one plain line for what a user can mend.

A command is a function in one of this folder's files, found in `COMMANDS` by its name of one word or two. What is
written behind it is composed with its config and checked against its stage before anything heavy is imported: neither
help nor a mistake waits for torch.
"""

import errno
import importlib
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import yaml

from cmrfed.cli.commands import COMMANDS, EXIT_CODES, Command
from cmrfed.cli.help import help_lines
from cmrfed.cli.stages import Compare
from cmrfed.composition import Job, compose_jobs, plain, put_in, read_job, read_words
from cmrfed.config import RunConfig, Stage, StoppedEarly, UserError
from cmrfed.console import console, errors, survive_any_encoding
from cmrfed.keys import nearest


def main() -> None:
    """Entry point of the console script."""
    survive_any_encoding()
    words = sys.argv[1:] or ["--help"]
    name = next((name for name in (" ".join(words[:2]), words[0]) if name in COMMANDS), None)
    if name:
        sys.exit(_run(name, COMMANDS[name], words[len(name.split()) :]))
    elif words[0] in ("--help", "-h", "help"):
        console.print(_usage(), markup=False, soft_wrap=True)
    elif words[0] == "--version":
        console.print(_version())
    else:
        errors.print(f"cmrfed: {_unknown(words)}", markup=False)
        sys.exit(2)


def _version() -> str:
    from cmrfed import __version__

    return __version__


def _usage() -> str:
    return "\n".join(
        [
            f"cmrfed {_version()}: one generator of synthetic cardiac MRI, trained by many",
            "hospitals, private by patient.",
            "",
            "  cmrfed COMMAND [KEY=VALUE ...]",
            "",
            *(f"  {name:<18} {command.what}" for name, command in COMMANDS.items()),
            "",
            "cmrfed COMMAND --help     its keys: what each means, and its default",
            "cmrfed COMMAND --cfg job  print the composed configuration and do nothing",
            "cmrfed COMMAND -m ...     a sweep: KEY=A,B runs the command for each value",
            "",
            "Paths are taken as they are written, whatever characters they have.",
            "",
            "Exit codes:",
            *(f"  {code:<4} {what}" for code, what in EXIT_CODES.items()),
        ]
    )


def _unknown(words: Sequence[str]) -> str:
    """What was not understood; the first word of a command of two leads to its second words."""
    seconds = [name for name in COMMANDS if name.split()[0] == words[0]]
    found = " ".join(words[: 2 if seconds else 1])
    likely = nearest(found, COMMANDS)[:1]
    hint = f"; did you mean {likely[0]}?" if likely else "."
    return f"no command {found!r}{hint} Commands are {', '.join(seconds or COMMANDS)}"


def _run(name: str, command: Command, words: Sequence[str]) -> int:
    """Do what the words ask for; returns the exit code."""
    try:
        given = read_words(words, command.stage, command.word)
        jobs = compose_jobs(command.config, command.stage, given)
        if given.help:
            return _help(command, jobs[0], given.sections)
        if given.show:
            return _show(jobs, given.as_written)
        checked = [read_job(job, command.stage, given.as_written) for job in jobs]
    except UserError as error:
        return _fail(name, error)
    if given.sweep:
        return _sweep(name, command, [job.label for job in jobs], checked)
    return _call(name, command, checked[0])[0]


def _help(command: Command, job: Job, sections: Sequence[str]) -> int:
    for line in help_lines(job, command.stage, sections or command.shown, not sections, console.width):
        console.print(line, markup=False, soft_wrap=True)
    return 0


def _show(jobs: Sequence[Job], as_written: Mapping[str, Any]) -> int:
    for job in jobs:
        values = plain(job.config, resolve=False)
        put_in(values, as_written)
        console.print(yaml.safe_dump(values, sort_keys=False, allow_unicode=True), markup=False, soft_wrap=True)
    return 0


def _call(name: str, command: Command, settings: Stage) -> tuple[int, Path | None]:
    """The exit code, and the folder of the run that the command made, if it did."""
    try:
        function = getattr(importlib.import_module(f"cmrfed.cli.{command.module}"), command.function)
        with _ended_in_order():
            return 0, function(settings)
    except SystemExit as stop:  # a command that found problems
        return stop.code if isinstance(stop.code, int) else 1, None
    except StoppedEarly as early:
        return _fail(name, early), early.folder
    except UserError as error:
        return _fail(name, error), None
    except OSError as error:
        if not error.filename and error.errno not in _FULL:
            raise
        return _fail(name, UserError(f"{error.filename or 'disk'}: {error.strerror}")), None
    except KeyboardInterrupt as interrupt:
        number = next((one for one in interrupt.args if isinstance(one, signal.Signals)), signal.SIGINT)
        what = "interrupted" if number == signal.SIGINT else f"ended by {number.name}"
        kept = getattr(interrupt, "__notes__", ())  # by `if_interrupted`
        errors.print(f"cmrfed {name}: {'; '.join([what, *kept])}", markup=False)
        sys.exit(128 + number)


def total_of(jobs: Sequence[Stage]) -> str:
    """What a sweep's private runs cost a patient together, by basic composition; empty where none is private."""
    private = [job.privacy for job in jobs if isinstance(job, RunConfig) and job.privacy.mode != "none"]
    if len(private) < 2 or any(one.noise_multiplier for one in private):
        return ""
    epsilon, delta = sum(one.target_epsilon for one in private), sum(one.delta for one in private)
    return (
        f"{len(private)} private runs: on the same patients at most epsilon {epsilon:g} at delta {delta:.2g} together; "
        "each says before it begins what the ledger has"
    )


_FULL = (errno.ENOSPC, errno.EDQUOT)


def _sweep(name: str, command: Command, labels: Sequence[str], jobs: Sequence[Stage]) -> int:
    """Run one after the other, whatever becomes of those before; then compare the runs that were made."""
    began, made, worst = datetime.now().astimezone(), [], 0
    if told := total_of(jobs):
        console.print(told, markup=False, soft_wrap=True)
    for number, (label, settings) in enumerate(zip(labels, jobs, strict=True), start=1):
        console.print(f"{number} of {len(jobs)}: {label}", style="bold", markup=False, soft_wrap=True)
        code, folder = _call(name, command, settings)
        made += [folder] if folder else []
        worst = max(worst, code)
    if len(made) > 1:
        page = made[0].with_name(f"{began:%Y-%m-%d_%H-%M-%S}_sweep.html")
        pages = Compare(run=tuple(map(str, made)), out=str(page))
        worst = max(worst, _call("report compare", COMMANDS["report compare"], pages)[0])
    return worst


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


def _fail(name: str, error: UserError) -> int:
    errors.print(f"cmrfed {name}: {error}", style="red", markup=False)
    return error.exit_code
