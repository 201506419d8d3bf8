"""Two contrasts from one code: what is not known counts for nothing, and a contrast that is known says what the other
looks like."""

import pytest
import torch
from presets import batch_of, tiny_generator, tiny_preset
from toy_batches import changed

from cmrfed.config import SamplingConfig, UserError
from cmrfed.generators import build_generator

BOTH, IMAGE_ALONE, SOURCE_ALONE = 0, 1, 2


@pytest.fixture(scope="module")
def generator():
    return tiny_generator("multicontrast")


def drawn(generator, batch, subset):
    objective = generator.objective
    batch = objective.told(objective.drawn(batch, torch.Generator().manual_seed(0)))
    return batch._replace(draws=batch.draws | {"subset": torch.full((batch.size,), subset)})


def unknown_source(batch):
    return changed(batch, source_image=torch.full_like(batch.conditions["source_image"], torch.nan))


def posterior(generator, batch):
    contrasts = generator.contrasts_of(batch.images, batch.conditions)
    return generator.posterior(generator.objective.seen(contrasts, batch.draws), batch.conditions).mean


def test_a_code_is_read_from_the_contrasts_that_are_left(generator):
    batch = batch_of(generator)
    other_image = batch._replace(images=-batch.images)
    other_source = changed(batch, source_image=-batch.conditions["source_image"])
    for subset, image_matters, source_matters in (
        (BOTH, True, True),
        (IMAGE_ALONE, True, False),
        (SOURCE_ALONE, False, True),
    ):
        code, of_image, of_source = (
            posterior(generator, drawn(generator, one, subset)) for one in (batch, other_image, other_source)
        )
        assert torch.equal(code, of_image) != image_matters
        assert torch.equal(code, of_source) != source_matters


def test_where_the_source_is_unknown_the_image_alone_is_seen_and_counts(generator):
    batch = unknown_source(batch_of(generator))
    losses = [generator.objective.losses(drawn(generator, batch, subset)) for subset in (BOTH, SOURCE_ALONE)]
    assert torch.equal(*losses) and losses[0].isfinite().all()
    missing = batch._replace(conditions={name: one for name, one in batch.conditions.items() if name != "source_image"})
    assert torch.equal(generator.objective.losses(drawn(generator, missing, BOTH)), losses[0])
    before = generator.decoder.unet.out[2].conv.weight.detach().clone()
    patch = generator.config.patch**2
    with torch.no_grad():
        generator.decoder.unet.out[2].conv.weight[patch:] += 1
        assert torch.equal(generator.objective.losses(drawn(generator, batch, BOTH)), losses[0])
        generator.decoder.unet.out[2].conv.weight.copy_(before)


def test_both_are_learnt_also_where_one_is_not_seen(generator):
    batch = drawn(generator, batch_of(generator), IMAGE_ALONE)
    other = changed(batch, source_image=-batch.conditions["source_image"])
    assert not torch.equal(generator.objective.losses(batch), generator.objective.losses(other))


def test_an_image_is_drawn_from_its_other_contrast_where_that_is_known(generator):
    conditions = batch_of(generator).conditions
    known = conditions["source_image"].clone()
    known[1] = torch.nan
    told = [conditions | {"source_image": source} for source in (known, -known)]
    one, another = (
        generator.sample_contrasts(each, SamplingConfig(), torch.Generator().manual_seed(0)) for each in told
    )
    assert one.shape == (3, 2, 16, 16)
    assert [torch.equal(*rows) for rows in zip(one, another, strict=True)] == [False, True, False]
    image = generator.sample(told[0], SamplingConfig(), torch.Generator().manual_seed(0))
    assert torch.equal(image, one[:, :1])


def test_without_a_second_contrast_among_the_conditions_it_is_refused():
    with pytest.raises(UserError, match=r"^generator.conditions: .*source_image"):
        build_generator(tiny_preset("multicontrast", conditions=["mask"]), seed=0)
