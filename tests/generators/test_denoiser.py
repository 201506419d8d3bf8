"""What holds of every path from noise to image: which conditions are hidden in training, and how."""

import pytest
import torch
from toy_batches import PATHS, a_batch, changed, drawn, without_zeros

from cmrfed.batches import hidden
from cmrfed.conditions import UNLABELLED, VENDORS
from cmrfed.generators import build_generator
from cmrfed.shapes import FIRST_TISSUE, STRUCTURES, Label


@pytest.fixture(params=PATHS)
def generator(request, tiny_generator_config):
    return without_zeros(build_generator(tiny_generator_config.model_copy(update={"family": request.param}), seed=1))


def losses(generator, batch):
    return generator.objective.losses(batch)


def all_hidden(batch):
    nobody = torch.ones(batch.size, dtype=torch.bool)
    return batch._replace(conditions=hidden(batch.conditions, nobody))


def test_mask_vendor_and_phase_matter_and_not_where_they_are_hidden(generator):
    batch = drawn(generator, a_batch())
    other_mask = changed(batch, mask=(batch.masks + 1) % 4)
    other_vendor, other_phase = (
        changed(batch, **{name: (batch.conditions[name] + 1) % 2}) for name in ("vendor", "phase")
    )
    for other in (other_mask, other_vendor, other_phase):
        assert not torch.equal(losses(generator, batch), losses(generator, other))
        assert torch.equal(losses(generator, all_hidden(batch)), losses(generator, all_hidden(other)))


def test_rows_are_hidden_with_the_configured_chance(generator):
    config = generator.config.model_copy(update={"condition_dropout": 0.0})
    shown = build_generator(config, seed=0)
    batch = a_batch(400, (4, 4))
    for built, least, most in ((generator, 0.1, 0.3), (shown, 0.0, 0.0)):
        drawn_once = built.objective.drawn(batch, torch.Generator().manual_seed(0))
        told = built.objective.told(drawn_once)
        alike = (drawn_once.draws["hidden "] == told.draws["hidden "]).float().mean()
        assert least <= 1 - float(alike) <= most


def test_no_mask_is_not_the_same_as_all_background(generator):
    batch = drawn(generator, a_batch(vendor=VENDORS.index("GE")))
    background, nothing = (changed(batch, mask=torch.full_like(batch.masks, label)) for label in (0, UNLABELLED))
    assert not torch.equal(losses(generator, background), losses(generator, nothing))


def test_classes_of_tissue_are_conditions_of_a_generator_that_knows_them(generator):
    config = generator.config.model_copy(update={"tissue_classes": 2})
    knowing = without_zeros(build_generator(config, seed=0))
    batch = drawn(knowing, a_batch())
    tissues = [torch.where(batch.masks == Label.BACKGROUND, FIRST_TISSUE + kind, batch.masks) for kind in (0, 1)]
    one, two = (losses(knowing, changed(batch, mask=mask)) for mask in tissues)
    assert (one != two).all()


def test_a_hidden_structure_leaves_no_trace_in_the_mask(tiny_generator_config):
    """Masks that differ in nothing but what is hidden are one to the network, and what is left is as it was."""
    config = tiny_generator_config.model_copy(update={"label_dropout": 0.5, "condition_dropout": 0.0})
    flow = without_zeros(build_generator(config, seed=0))
    batch = flow.objective.drawn(a_batch(64, (8, 8)), torch.Generator().manual_seed(0))
    which = batch.draws["hidden labels"]
    assert 0.4 < float(which.float().mean()) < 0.6
    masks = batch.masks.clone()
    for label, one in zip(STRUCTURES, which.unbind(1), strict=True):
        swapped = torch.where(masks == label, Label.BACKGROUND, masks)
        masks = torch.where(one[:, None, None], swapped, masks)
    others = changed(batch, mask=masks)
    assert torch.equal(losses(flow, batch), losses(flow, others))
    hidden_all = which.all(dim=1)
    nothing = changed(batch, mask=torch.full_like(masks, UNLABELLED))
    same = losses(flow, batch) == losses(flow, nothing)
    assert same[hidden_all].all() and hidden_all.any() and not same[~hidden_all].any()
