"""Every family keeps the contract: a loss for each row alone, samples that follow the seed, private readiness."""

import pytest
import torch
from torch import nn
from toy_batches import a_batch, changed, drawn, without_zeros

from cmrfed.batches import hidden
from cmrfed.conditions import UNLABELLED, VENDORS
from cmrfed.config import GeneratorConfig, SamplingConfig, UserError, read_stage
from cmrfed.generators import build_generator, refuse_batch_statistics
from cmrfed.members import FAMILIES
from cmrfed.shapes import FIRST_TISSUE, Label


@pytest.fixture(params=sorted(FAMILIES))
def generator(request, tiny_generator_config):
    return without_zeros(build_generator(tiny_generator_config.model_copy(update={"family": request.param}), seed=1))


def losses(generator, batch):
    return generator.objective.losses(batch)


def all_hidden(batch):
    nobody = torch.ones(batch.size, dtype=torch.bool)
    return batch._replace(conditions=hidden(batch.conditions, nobody))


def test_each_stage_has_one_objective_of_patients_and_every_weight_is_somebodys(generator):
    for stage in range(generator.stages):
        assert [one.private for one in generator.objectives if one.stage == stage].count(True) == 1
    named = [one.name for one in generator.objectives]
    assert len(set(named)) == len(named)
    trained = {id(weight) for one in generator.objectives for weight in one.weights()}
    assert trained == {id(weight) for weight in generator.parameters()}


def test_a_row_alone_has_the_loss_it_has_in_a_batch(generator):
    batch = drawn(generator, a_batch())
    together = losses(generator, batch)
    for row in range(3):
        alone = losses(generator, batch.rows(row, row + 1))
        assert alone.item() == pytest.approx(together[row].item(), rel=1e-4)


def test_a_batch_of_an_objective_is_rows_in_every_tensor(generator):
    batch = generator.objective.drawn(a_batch(5), torch.Generator().manual_seed(0))
    assert batch.draws
    assert {len(one) for one in (batch.images, *batch.conditions.values(), *batch.draws.values())} == {5}


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


def test_samples_follow_the_seed_and_stay_in_range(generator):
    conditions, sampling = a_batch().conditions, SamplingConfig(steps=3, guidance=2.0)
    first, again, other = (generator.sample(conditions, sampling, torch.Generator().manual_seed(s)) for s in (5, 5, 6))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.shape == (3, 1, 16, 16)
    assert first.abs().max() <= 1


def test_a_round_trains_the_weights_of_its_stages_private_objective(generator):
    for round in (1, 4):
        generator.enter(round, 4)
        trained = {id(weight) for weight in generator.parameters() if weight.requires_grad}
        assert trained == {id(weight) for weight in generator.objective.weights()}


def test_the_seed_decides_the_first_weights_and_nothing_else(generator):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    first, again = (build_generator(generator.config, seed=2) for _ in range(2))
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))


def test_a_family_that_is_not_listed_is_refused_and_those_that_are_are_named():
    with pytest.raises(UserError, match=r"^family: Input should be 'flow', 'ddpm' or 'edm' \(found 'ddmp'\).*ddpm\?$"):
        read_stage(GeneratorConfig, {"family": "ddmp"})


def test_a_layer_with_batch_statistics_is_refused_affine_or_not():
    for affine in (True, False):
        network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4, affine=affine, track_running_stats=False))
        with pytest.raises(UserError, match=r"layer 1 is a BatchNorm2d.*group norm"):
            refuse_batch_statistics(network)
    refuse_batch_statistics(nn.Sequential(nn.InstanceNorm2d(4), nn.GroupNorm(2, 4)))


def test_channels_that_groups_do_not_divide_are_refused_in_one_line():
    with pytest.raises(UserError, match=r"channels: each must be a multiple of norm_groups=8"):
        read_stage(GeneratorConfig, {"channels": [20, 24]})
