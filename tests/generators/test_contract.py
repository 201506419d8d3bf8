"""Every preset keeps the contract: a loss for each row alone, conditions that are used, samples that follow the seed,
private readiness."""

from functools import partial

import pytest
import torch
from conftest import toy_plan
from presets import PRESETS, SIZE, batch_of, grid_of, hearts_of, tiny_generator, tiny_preset
from torch import nn
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

from cmrfed.batches import nothing_of
from cmrfed.conditions import CONDITIONS, Categorical
from cmrfed.config import GeneratorConfig, PretrainingConfig, SamplingConfig, TrainingConfig, UserError, read_stage
from cmrfed.generators import build_generator, refuse_batch_statistics
from cmrfed.privacy import Clipping, LocalNoise, NoPrivacy, SeededRandom, looped_gradients, vmapped_gradients
from cmrfed.site.compute import needs
from cmrfed.stacks import samples_of
from cmrfed.training import LocalTask, mean_loss, patient_batch, pretrain, train, train_publicly, trained_weights
from cmrfed.training.private import clipped_sum
from cmrfed.updates import load_generator, read_weights, save_generator

TRAINING = TrainingConfig(
    local_steps=1, optimizer="sgd", learning_rate=0.1, batch_size=4, slices_per_patient=2, precision="fp32",
    device="cpu",
)  # fmt: skip
SAMPLING = SamplingConfig(steps=3)


@pytest.fixture(scope="module", params=PRESETS)
def generator(request):
    return tiny_generator(request.param)


def stages(generator):
    """The generator at each of its stages, in order."""
    for round in range(1, generator.stages + 1):
        yield generator.enter(round, generator.stages)


def drawn(objective, batch, seed=4):
    return objective.told(objective.drawn(batch, torch.Generator().manual_seed(seed)))


def sample(generator, conditions, seed=5, **changes):
    chosen = SAMPLING.model_copy(update=changes)
    return generator.sample(conditions, chosen, torch.Generator().manual_seed(seed))


def test_each_stage_has_one_objective_of_patients_and_every_weight_is_somebodys(generator):
    for stage in range(generator.stages):
        assert [one.private for one in generator.objectives if one.stage == stage].count(True) == 1
    assert not any(one.private for one in generator.objectives if one.stage is None)
    named = [one.name for one in generator.objectives]
    assert len(set(named)) == len(named)
    trained = {id(weight) for one in generator.objectives for weight in one.weights()}
    everything = {id(weight) for weight in generator.parameters()}
    assert trained == everything or generator.config.trainable != "all"


def test_a_row_alone_has_the_loss_it_has_in_a_batch(generator):
    for objective in generator.objectives:
        batch = drawn(objective, batch_of(generator))
        together = objective.losses(batch)
        assert together.shape == (3,)
        for row in range(3):
            alone = objective.losses(batch.rows(row, row + 1))
            assert alone.item() == pytest.approx(together[row].item(), rel=1e-3, abs=1e-6)


def test_a_batch_of_an_objective_is_rows_in_every_tensor(generator):
    for objective in generator.objectives:
        batch = objective.drawn(batch_of(generator, 5), torch.Generator().manual_seed(0))
        assert {len(one) for one in tree_leaves(batch)} == {5}


def test_patients_gradients_are_plain_autograds_alone_or_together(generator):
    for one in stages(generator):
        objective, weights = one.objective, trained_weights(one)
        patients = [drawn(objective, batch_of(one, 2, seed), seed) for seed in (6, 7)]
        expected = [
            torch.autograd.grad(sum(objective.losses(patient)) / 2, weights, allow_unused=True, materialize_grads=True)
            for patient in patients
        ]
        losses = [partial(mean_loss, objective, own, TRAINING, torch.device("cpu")) for own in patients]
        looped = list(looped_gradients(weights, losses))
        _, structure = tree_flatten(patients[0])
        chunk = tuple(torch.stack(rows) for rows in zip(*map(tree_leaves, patients), strict=True))

        def loss(call, *rows, structure=structure):
            return call(tree_unflatten(rows, structure)).mean()

        (vmapped,) = vmapped_gradients(one, loss, [chunk], together=2)
        for number, gradients in enumerate(expected):
            for known, alone, among in zip(gradients, looped[number], vmapped, strict=True):
                torch.testing.assert_close(alone[0], known)
                torch.testing.assert_close(among[number], known, rtol=2e-3, atol=2e-5)
        assert any(part.abs().sum() > 0 for part in expected[0])


@pytest.mark.parametrize("preset", ["latent", "mask_diffusion", "progressive_gan", "volume"])  # whose rows change shape
def test_a_private_sum_is_the_same_a_patient_at_a_time_and_several_at_once(preset):
    generator = tiny_generator(preset)
    clipping, device = Clipping(max_grad_norm=0.1), torch.device("cpu")
    for one in stages(generator):
        found = {}
        for path in ("loop", "vmap"):
            training = TRAINING.model_copy(update={"patient_gradients": path, "rows_at_once": 4})
            hearts, random = samples_of(hearts_of(one), one.config.levels), SeededRandom(3)
            drawn = (patient_batch(one.objective, hearts, patient, training, random, device) for patient in range(3))
            found[path] = clipped_sum(one, drawn, training, clipping, device)
        torch.testing.assert_close(found["loop"], found["vmap"], rtol=5e-3, atol=1e-5)
        assert 0 < found["loop"].norm() <= 0.3


def test_what_it_is_told_of_matters(generator):
    """The same noise and another mask, vendor or age: another image; and the same where the condition is hidden. Images
    of tokens differ only where a token does, so that for a small change of what is told several noises are tried."""
    conditions = batch_of(generator).conditions
    image, hidden_image = (sample(generator, one) for one in (conditions, nothing_of(conditions)))
    for name in told_of(generator):
        other = conditions | {name: another(name, conditions[name])}
        first = not torch.equal(sample(generator, other), image)
        later = ((sample(generator, one, seed) for one in (conditions, other)) for seed in range(6, 35))
        assert first or any(not torch.equal(*images) for images in later), name
        assert torch.equal(sample(generator, nothing_of(other)), hidden_image), name


def test_nothing_else_matters_and_what_the_data_do_not_have_is_unknown(generator):
    conditions, told = batch_of(generator).conditions, told_of(generator)
    others = {name: another(name, values) for name, values in conditions.items() if name not in told}
    assert torch.equal(sample(generator, conditions | others), sample(generator, conditions))
    absent = {name: one for name, one in conditions.items() if name == "mask"}  # whose grid is the image's
    unknown = nothing_of(conditions) | absent
    assert torch.equal(sample(generator, absent), sample(generator, unknown))


def told_of(generator):
    return (*generator.config.conditions, *(["mask"] if generator.draws_masks else []))


def another(name, values):
    condition = CONDITIONS[name]
    if isinstance(condition, Categorical):
        return (values + 1) % condition.unknown
    if name == "mask":
        return (values + 1) % 4
    low, high = condition.limits or (-1.0, 1.0)
    return low + high - values


def test_samples_follow_the_seed_and_stay_in_range(generator):
    conditions = batch_of(generator).conditions
    first, again, other = (sample(generator, conditions, seed, guidance=2.0) for seed in (5, 5, 6))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.shape == (3, 1, *grid_of(generator.config))
    assert first.abs().max() <= 1
    assert not first.requires_grad


def test_a_round_trains_the_weights_of_its_stages_private_objective(generator):
    for one in stages(generator):
        trained = {id(weight) for weight in one.parameters() if weight.requires_grad}
        assert trained == {id(weight) for weight in one.objective.weights()}


@pytest.mark.parametrize("plan", [NoPrivacy(), toy_plan(steps=8, seed=1)], ids=["plain", "private"])
@pytest.mark.parametrize("preset", PRESETS)
def test_every_round_moves_its_stages_weights_with_privacy_and_without(preset, plan):
    generator = tiny_generator(preset)
    rounds = max(2, generator.stages)
    for round in range(1, rounds + 1):
        generator.enter(round, rounds)
        public = [one for one in generator.objectives if not one.private and one.stage == generator.stage]
        before = read_weights(generator)
        task = LocalTask(training=TRAINING, plan=plan, round=round, rounds=rounds)
        run = train(generator, hearts_of(generator), task)
        assert (run.event is None) == (not isinstance(plan, LocalNoise))
        assert any(part.any() for part in run.update.values())
        assert set(run.update) == {name for name, one in generator.named_parameters() if one.requires_grad}
        hearts = (hearts_of(generator) for _ in range(4))
        train_publicly(generator, hearts, TRAINING, seed=0, round=round)
        after = read_weights(generator)
        own = {id(weight) for objective in (*public, generator.objective) for weight in objective.weights()}
        still = {name for name, one in generator.named_parameters() if id(one) not in own}
        assert all((before[name] == after[name]).all() for name in still)
        assert all(torch.from_numpy(one).isfinite().all() for one in after.values())


@pytest.mark.parametrize("preset", PRESETS)
def test_pretraining_on_public_patients_moves_the_weights_of_every_objective(preset):
    """Also of those that come before the first round, which no round trains."""
    generator = tiny_generator(preset)
    before = read_weights(generator)
    steps = 2 * len({one.stage for one in generator.objectives})
    config = PretrainingConfig(steps=steps, batch_size=2, mixed_slices=2, learning_rate=0.1)
    pretrain(generator, lambda first: (hearts_of(generator) for _ in range(3 * steps)), config, TRAINING, seed=0)
    names = {id(weight): name for name, weight in generator.named_parameters()}
    after = read_weights(generator)
    for objective in generator.objectives:
        own = [names[id(weight)] for weight in objective.weights()]
        assert any((before[name] != after[name]).any() for name in own), objective.name


@pytest.mark.parametrize("preset", PRESETS)
def test_what_a_site_needs_for_it_is_found_on_paper(preset):
    config = tiny_preset(preset)
    one, three = (needs(config, rows, SIZE) for rows in (1, 3))
    assert one.weights == sum(weight.numel() for weight in build_generator(config, seed=0).parameters())
    assert 0 < one.memory_bytes < three.memory_bytes


@pytest.mark.parametrize("preset", PRESETS)
def test_the_seed_decides_the_first_weights_and_nothing_else(preset):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    first, again = (build_generator(tiny_preset(preset), seed=2) for _ in range(2))
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))


def test_a_generator_on_disk_is_the_same_generator(generator, tmp_path):
    """At the same stage: on a CPU, whether a weight is trained decides by which kernel a convolution is rounded."""
    generator.enter(1, 1)
    save_generator(tmp_path / "model.safetensors", generator, read_weights(generator))
    loaded, _ = load_generator(tmp_path / "model.safetensors")
    conditions = batch_of(generator).conditions
    assert torch.equal(sample(generator.eval(), conditions), sample(loaded, conditions))


def test_a_family_that_is_not_listed_is_refused_and_those_that_are_are_named():
    with pytest.raises(
        UserError, match=r"^family: Input should be 'flow', 'ddpm'.* or '\w+' \(found 'ddmp'\).*ddpm\?$"
    ):
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
