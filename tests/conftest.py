"""Hands on what `shared.py` holds, to tests and to pytest; but where tests are shared out among processes, the one
that shares them out runs none, and is not to spend a quarter of a minute on importing what they need."""

from importlib import import_module
from typing import Any

import pytest


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("dist", "no") == "no":  # as it is in each of the processes that run tests
        config.pluginmanager.register(import_module("shared"), "shared by all tests")


def __getattr__(name: str) -> Any:
    if name.startswith(("pytest", "_")):  # asked for by pytest, which takes what there is
        raise AttributeError(name)
    return getattr(import_module("shared"), name)
