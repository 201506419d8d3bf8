"""Generators that go by another image of the slice begin from it, or keep to it; without one they sample as others."""

import pytest
import torch
from presets import tiny_generator, tiny_preset
from toy_batches import Oracle, a_batch, changed, drawn

from cmrfed.config import GeneratorConfig, SamplingConfig, UserError
from cmrfed.generators import build_generator
from cmrfed.generators.sourced import DirectFlow, known_sources

SAMPLING = SamplingConfig(steps=10)


def with_source(count=3, grid=(16, 16)):
    sources = torch.rand(count, *grid, generator=torch.Generator().manual_seed(9)) * 2 - 1
    return changed(a_batch(count, grid), source_image=sources)


def noises(batch):
    return torch.randn(batch.images.shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("family", ["direct_flow", "reference_adaptation"])
def test_a_generator_that_goes_by_a_source_is_refused_without_the_condition(family):
    config = GeneratorConfig(family=family, channels=(8, 8), norm_groups=4, trainable="all", init=None)
    with pytest.raises(UserError, match=rf"^generator.conditions: {family} goes by .* source_image"):
        build_generator(config, seed=0)


def test_a_source_with_an_unknown_pixel_is_none():
    batch = with_source(3)
    batch.conditions["source_image"][1, 2, 3] = torch.nan
    sources, known = known_sources(batch.conditions)
    assert known.tolist() == [True, False, True] and sources.isfinite().all()


def test_a_direct_flow_learns_the_straight_way_from_the_source_to_the_image():
    flow, batch = tiny_generator("direct_flow", condition_dropout=0.0), with_source(200, (8, 8))
    ready = flow.objective.drawn(batch, torch.Generator().manual_seed(4))
    starts = ready.draws["noises"]
    away = (starts - batch.conditions["source_image"][:, None]).flatten(1)
    from_source = away.std(dim=1) < 0.3
    assert 0.8 < float(from_source.float().mean()) < 0.97, "the source is hidden in a tenth of the rows"
    assert away[from_source].std() == pytest.approx(DirectFlow.BLUR, rel=0.05)
    assert starts[~from_source].std() == pytest.approx(1.0, rel=0.1)
    ready = drawn(flow, with_source())
    t, starts = ready.draws["times"][:, None, None, None], ready.draws["noises"]
    velocity = flow.network(t * ready.images + (1 - t) * starts, ready.draws["times"], ready.conditions)
    expected = (velocity - (ready.images - starts)).square().flatten(1).mean(1)
    torch.testing.assert_close(flow.objective.losses(ready), expected)


def test_a_direct_flow_that_knows_nothing_leaves_the_source_as_it_is():
    """At a velocity of zero a way ends where it began: the seen image at the last time is x_t itself."""
    flow, batch = tiny_generator("direct_flow"), with_source()
    flow.network = Oracle(flow, lambda x_t, *_: x_t)
    found = flow.denoise(noises(batch), batch.conditions, SAMPLING)
    torch.testing.assert_close(found, batch.conditions["source_image"][:, None] + DirectFlow.BLUR * noises(batch))


def test_an_adapted_sample_has_the_references_coarse_part_and_its_own_detail():
    adapted, batch = tiny_generator("reference_adaptation"), with_source()
    detail = torch.zeros(1, 1, 16, 16)
    detail[..., ::2, ::2], detail[..., 1::2, 1::2] = 0.1, -0.1  # nothing of it is left in means over 4 x 4 pixels
    adapted.network = Oracle(adapted, lambda x_t, *_: detail.expand(len(x_t), -1, -1, -1))
    found = adapted.sample(batch.conditions, SAMPLING, torch.Generator().manual_seed(0))
    coarse = adapted._coarse(batch.conditions["source_image"][:, None])
    torch.testing.assert_close(found, coarse + detail, rtol=0, atol=0.02)


def test_rows_without_a_source_are_drawn_as_if_nobody_had_one():
    for preset in ("direct_flow", "reference_adaptation"):
        generator, batch = tiny_generator(preset), with_source()
        batch.conditions["source_image"][1] = torch.nan
        none = {name: one for name, one in batch.conditions.items() if name != "source_image"}
        found, plain = (
            generator.sample(conditions, SAMPLING, torch.Generator().manual_seed(0))
            for conditions in (batch.conditions, none)
        )
        assert torch.equal(found[1], plain[1]) and not torch.equal(found[0], plain[0])


def test_the_network_is_told_of_no_source():
    for preset in ("direct_flow", "reference_adaptation"):
        config = tiny_preset(preset)
        told = tuple(name for name in config.conditions if name != "source_image")
        without = config.model_copy(update={"family": "flow", "conditions": told})
        sourced, plain = (build_generator(one, 0) for one in (config, without))
        assert [one.shape for one in sourced.parameters()] == [one.shape for one in plain.parameters()]
