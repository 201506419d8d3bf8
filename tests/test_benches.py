"""The benches still run: what is timed is what the product does today."""

import numpy as np
import pytest
import torch
from conftest import toy_slices

from benches import gpu_foundation, messages, privacy, realism, styles
from cmrfed.conditions import STYLE_NUMBERS
from cmrfed.config import GeneratorConfig, SamplingConfig
from cmrfed.federation import start
from cmrfed.foundation import is_foundation
from cmrfed.generators import build_generator
from cmrfed.generators.directions import NAME as DIRECTIONS
from cmrfed.privacy import SeededRandom
from cmrfed.updates import load_arrays

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


def test_a_foundation_is_checked_timed_trained_and_written_in_the_minutes_it_is_given(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CMRFED_CACHE", str(tmp_path / "cache"))
    found = start.make_directions  # of as many as by default it asks a hundred hearts
    monkeypatch.setattr(start, "make_directions", lambda config, weights, count: found(config, weights, 4))
    out, network = tmp_path / "foundation.safetensors", ["--size", "16", "--channels", "8", "8"]
    training = ["--minutes", "0.01", "--batch", "2", "--trial", "3", "--device", "cpu", "--norm-groups", "4"]
    check = ["--check", "--patients", "2", "--slices", "1", *network]
    assert gpu_foundation.main(["--out", str(out), *training, *network, *check]) == 0
    assert "| bf16 | vmap |" in capsys.readouterr().out
    weights, notes = load_arrays(out)
    made_by = notes["made_by"]
    assert weights[DIRECTIONS].shape[1] == 4
    assert is_foundation(out) and made_by["batch_size"] == 2 and made_by["steps"] >= 1
    assert out.with_suffix(".md").read_text().startswith("# foundation.safetensors")


@pytest.mark.parametrize(
    ("pace", "steps", "uses"),
    [(gpu_foundation.Pace(0.5, 64.0), 120, 1), (gpu_foundation.Pace(0.01, 640.0), 6000, 5)],
)
def test_a_device_never_waits_for_hearts(pace, steps, uses):
    assert pace.settings(minutes=1, batch_size=32) == {"steps": steps, "batch_size": 32, "uses": uses}


def test_what_messages_weigh_is_read_from_a_runs_rounds(finished_tiny_run):
    row = messages.read(finished_tiny_run)
    assert row.first_down > max(row.down, row.up) and min(row.down, row.up) > 0
    assert len(messages.cells(row)) == len(messages.TITLES) - 2


def test_the_best_style_is_better_than_the_one_it_began_with(monkeypatch):
    monkeypatch.setattr(styles, "RATE", 0.5)
    torch.manual_seed(0)
    generator, slices = build_generator(TINY, seed=0), toy_slices([4, 4])
    told = next(module for name, module in generator.named_modules() if name.endswith("style"))
    torch.nn.init.normal_(told.out.weight)
    for parameter in generator.parameters():
        torch.nn.init.normal_(parameter, std=0.3) if not parameter.any() else None
    middle = torch.full((STYLE_NUMBERS,), 0.5)
    best = styles.best_style(generator, slices, steps=25, seed=0)
    assert ((best > 0) & (best < 1)).all()
    assert styles.loss(generator, slices, best, 0) < styles.loss(generator, slices, middle, 0)
    batch = slices.batch(range(8))
    one, other = (styles._losses(generator, batch, style, SeededRandom(3)) for style in (best, middle))
    assert (one != other).all(), "no row's style is hidden"


def test_the_image_taken_at_the_end_of_the_walk_is_what_twenty_steps_draw():
    generator, slices = build_generator(TINY, seed=0), toy_slices([3, 3])
    for parameter in generator.parameters():
        torch.nn.init.normal_(parameter, std=0.1) if not parameter.any() else None
    batch = slices.batch(range(len(slices)))
    noises = torch.randn(batch.images.shape, generator=torch.Generator().manual_seed(3))
    found = realism.taken(generator, slices, noises, 0.0, (0.8, 0.9))
    with torch.no_grad():
        expected = generator.denoise(noises, batch.conditions, SamplingConfig(steps=20))[:, 0].clamp(-1, 1)
    torch.testing.assert_close(torch.from_numpy(found[0.9]), expected, rtol=1e-4, atol=1e-4)
    assert (found[0.8] != found[0.9]).any()


def test_an_image_given_anothers_spectrum_has_its_power_at_each_radius_and_its_own_shapes():
    random = np.random.default_rng(0)
    wanted, images = (scale * random.uniform(-1, 1, (2, 8, 8)) for scale in (0.2, 0.4))
    found = realism.with_spectrum_of(wanted, images)
    total, own = (float((each.astype(float) ** 2).sum()) for each in (found, wanted))
    assert total == pytest.approx(own, rel=1e-4)
    assert np.corrcoef(found.ravel(), images.ravel())[0, 1] > 0.8
