"""cmrfed: train one generator of synthetic cardiac MRI across hospitals, privately by patient.

Data flows one way, and file names tell it:
volumes -> datasets -> preprocessing -> slices -> generators + privacy -> training -> updates -> aggregation
-> sampling -> evaluation -> report.

In Python, `cmrfed.configure`, `load_data`, `federate`, `sample`, `evaluate` and `show` do what the command line does:
`cmrfed.api` has an example.
"""

import getpass
import os
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cmrfed.api import configure, evaluate, federate, load_data, load_model, open_run, resume, sample, show

__all__ = ["configure", "evaluate", "federate", "load_data", "load_model", "open_run", "resume", "sample", "show"]

try:
    __version__ = version("cmrfed")
except PackageNotFoundError:  # a copy of the source that was never installed
    __version__ = "0+unknown"


def __getattr__(name: str) -> object:
    """The verbs, imported with all that they need when the first of them is asked for."""
    if name in __all__:
        return getattr(import_module("cmrfed.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])


def _name_the_user() -> None:
    """A container may run as a user whom nobody named, whose name MONAI, torch and others ask for as they are imported;
    workers inherit the answer."""
    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ["USER"] = f"user-{os.getuid()}"


_name_the_user()
