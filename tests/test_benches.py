"""The benches still run: what is timed is what the product does today."""

import pytest

from benches import privacy
from cmrfed.config import GeneratorConfig

TINY = GeneratorConfig(channels=(8, 8), norm_groups=4, trainable="all")


def test_every_variant_of_a_step_is_timed(monkeypatch):
    monkeypatch.setattr(privacy, "SLICES", 1)
    monkeypatch.setattr(privacy, "SIZE", 16)
    medians = privacy._measure(privacy._slices(), privacy._plan(), ("tiny", "fp32"), TINY, turns=1)
    assert medians.keys() == {
        privacy.LOOP, privacy.VMAP, privacy.MICRO, privacy.FULL, privacy.HOOKS, privacy.GHOST,
    }  # fmt: skip
    assert min(medians.values()) > 0


def test_its_aims_are_ratios_within_one_run(monkeypatch):
    names = (privacy.LOOP, privacy.VMAP, privacy.MICRO, privacy.FULL, privacy.HOOKS, privacy.GHOST)
    medians = dict.fromkeys(privacy.RUNS, dict.fromkeys(names, 2.0))
    aims = privacy._aims(medians)
    assert aims and [aim.found for aim in aims] == pytest.approx([1.0] * len(aims))
