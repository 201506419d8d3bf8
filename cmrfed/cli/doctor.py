"""What this machine can do: cmrfed doctor."""

from pathlib import Path

from cmrfed.cli.checks import say_checks
from cmrfed.cli.stages import Doctor


def doctor(config: Doctor) -> None:
    from cmrfed.machine import check_machine

    say_checks(check_machine(Path(config.out)))
