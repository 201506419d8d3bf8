"""A case that a test has read and prepared is there for the next test that wants the same slices of the same files.

Whole runs in folders of their own would read the same phantom again and again, some tenths of a second a patient.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy

import pytest

from cmrfed import preparation
from cmrfed.config import PreprocessingConfig
from cmrfed.volumes import Case, Entry

_product = preparation._read_and_prepare
_prepared: dict[str, Case] = {}
_MOST = 200


@contextmanager
def known() -> Iterator[None]:
    """Within, a file is prepared once for each configuration, until it changes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(preparation, "_read_and_prepare", read_and_prepare)
        yield


def read_and_prepare(entry: Entry, preprocessing: PreprocessingConfig) -> Case:
    """As the product's, with arrays that are the caller's own; told apart by what tells a run's slices apart."""
    key = preparation.Source((entry,), preprocessing).key
    if key not in _prepared:
        while len(_prepared) >= _MOST:
            del _prepared[next(iter(_prepared))]
        _prepared[key] = _product(entry, preprocessing)
    return deepcopy(_prepared[key])
