"""A thousand damaged files of every layout: each is refused in one line or read, never anything else."""

import pytest
from fuzzing import fuzz_report

CORRUPTIONS = 1000


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return fuzz_report(tmp_path_factory.mktemp("fuzz"), CORRUPTIONS, seed=0)


def test_every_damaged_file_is_refused_in_one_line_or_read(report):
    assert report["failures"] == []
    assert sum(report["outcomes"].values()) == CORRUPTIONS
    assert report["outcomes"]["refused"] > CORRUPTIONS / 3


def test_no_damaged_file_takes_long_or_much_memory(report):
    assert report["slowest"][0] < 10, report["slowest"]
    assert report["peak_gib"] < 2
