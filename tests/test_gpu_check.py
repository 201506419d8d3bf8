"""The check of a device prints what it found, and fails where somebody else's gradient moved."""

from dataclasses import replace

import pytest
import torch

from benches import gpu_check
from cmrfed.config import GeneratorConfig
from cmrfed.training import private

TINY = GeneratorConfig(channels=(8, 8), norm_groups=4, condition_dropout=0.2, trainable="all", init=None)


@pytest.fixture(scope="module")
def checks():
    return gpu_check.check(TINY, torch.device("cpu"), patients=3, shape=(2, 1, 16, 16))


def test_on_a_cpu_every_precision_and_way_holds_to_the_bit(checks):
    assert [(one.precision, one.asked) for one in checks] == [
        ("fp32", "loop"), ("fp32", "vmap"), ("bf16", "loop"), ("bf16", "vmap")
    ]  # fmt: skip
    for one in checks:
        assert one.holds and one.chance == 0 and one.left_behind < 1e-12
        assert 0.9 < one.largest_part <= 1


def test_groups_as_large_as_the_sample_happens_to_be_are_found_out(monkeypatch):
    monkeypatch.setattr("cmrfed.privacy.gradients._filled", lambda part, together: part)
    monkeypatch.setattr(private, "_places_are_alike", lambda *_: True)
    found = gpu_check.check(TINY, torch.device("cpu"), patients=3, shape=(2, 1, 16, 16))
    assert max(one.left_behind for one in found if one.asked == "vmap") > 1e-9
    assert max(one.left_behind for one in found if one.asked == "loop") < 1e-12


def test_a_row_that_fails_is_shouted_and_told_by_the_exit_code(monkeypatch, checks, capsys):
    arguments = ["--device", "cpu", "--patients", "2", "--slices", "1", "--size", "16", "--channels", "8", "8"]
    assert gpu_check.main(arguments) == 0
    assert "| bf16 | vmap |" in capsys.readouterr().out
    monkeypatch.setattr(gpu_check, "check", lambda *_: [replace(checks[0], left_behind=1e-5)])
    assert gpu_check.main(arguments) == 1
    assert "| NO |" in capsys.readouterr().out
