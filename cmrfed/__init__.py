"""cmrfed: train one generator of synthetic cardiac MRI across hospitals, privately by patient.

Data flows one way, and file names tell it:
volumes -> datasets -> preprocessing -> slices -> generators + privacy -> training -> updates -> aggregation
-> sampling -> fidelity, utility, attacks -> evaluation -> report.
"""

import getpass
import os
from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("cmrfed")
except PackageNotFoundError:  # a copy of the source that was never installed
    __version__ = "0+unknown"


def _name_the_user() -> None:
    """A container may run as a user whom nobody named, whose name MONAI, torch and others ask for as they are imported;
    workers inherit the answer."""
    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ["USER"] = f"user-{os.getuid()}"


_name_the_user()
