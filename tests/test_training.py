"""A local run releases the update and the event, learns without privacy, and is the same for the same seed."""

from collections import Counter
from functools import partial
from itertools import count

import numpy as np
import pytest
import torch
from averages import averages_by_hand
from conftest import toy_plan, toy_slices
from interruptions import interrupted_in_step

from cmrfed.config import AdaptiveClipping, PretrainingConfig
from cmrfed.generators import build_generator
from cmrfed.privacy import NoPrivacy, SeededRandom, clipped_gradient_sum, looped_gradients
from cmrfed.training import (
    LocalTask,
    contribution,
    mean_loss,
    noised_sum,
    patient_batch,
    pretrain,
    train,
    trained_weights,
    validation_losses,
)
from cmrfed.training.pretraining import Mixed, steps_kept
from cmrfed.updates import read_weights

CPU = torch.device("cpu")


PLAIN = NoPrivacy()


def task(training, plan=PLAIN, **changes):
    return LocalTask(**({"training": training, "plan": plan, "round": 1, "rounds": 4} | changes))


@pytest.fixture
def generator(tiny_generator_config):
    return build_generator(tiny_generator_config, seed=0)


def test_a_private_run_returns_the_event_that_ran_and_no_unpaid_statistic(generator, fp32_training):
    run = train(generator, toy_slices([2, 3, 2]), task(fp32_training, toy_plan()))
    assert run.event == toy_plan().event(fp32_training.local_steps)
    assert run.loss is None


def test_the_update_is_what_the_weights_moved_by(generator, fp32_training):
    before = read_weights(generator)
    run = train(generator, toy_slices([2, 3]), task(fp32_training))
    after = read_weights(generator)
    assert all(np.array_equal(run.update[name], after[name] - before[name]) for name in before)
    assert any(update.any() for update in run.update.values())


def test_only_trained_weights_move_and_leave(tiny_generator_config, fp32_training):
    generator = build_generator(tiny_generator_config.model_copy(update={"trainable": "adaptation"}), seed=0)
    before = read_weights(generator)
    run = train(generator, toy_slices([2, 3]), task(fp32_training, toy_plan()))
    after = read_weights(generator)
    moved = {name for name in before if not np.array_equal(before[name], after[name])}
    assert moved
    assert moved == set(run.update)
    assert len(run.update) < len(before)


@pytest.mark.parametrize("plan", [PLAIN, toy_plan()])
def test_the_same_seed_gives_the_same_update_and_sites_and_rounds_differ(tiny_generator_config, fp32_training, plan):
    def update(**changes):
        run = train(
            build_generator(tiny_generator_config, 0), toy_slices([3, 3, 3]), task(fp32_training, plan, **changes)
        )
        return np.concatenate([array.ravel() for array in run.update.values()])

    assert np.array_equal(update(), update())
    assert not np.array_equal(update(), update(site=1))
    assert not np.array_equal(update(), update(round=2))


def test_a_secure_run_never_repeats_itself(tiny_generator_config, fp32_training):
    def update():
        run = train(
            build_generator(tiny_generator_config, 0), toy_slices([3]), task(fp32_training, toy_plan(seed=None))
        )
        return run.update["network.unet.conv_in.conv.weight"]

    assert not np.array_equal(update(), update())


def test_training_without_privacy_lowers_the_loss(generator, fp32_training):
    training = fp32_training.model_copy(update={"local_steps": 60, "optimizer": "adam", "learning_rate": 3e-3})
    slices = toy_slices([4, 4])
    before = validation_losses(generator, slices, training, seed=1)
    train(generator, slices, task(training))
    after = validation_losses(generator, slices, training, seed=1)
    assert set(before) == {"Philips", "Siemens"}
    assert all(after[vendor] < before[vendor] for vendor in before)


def test_cosine_starts_at_the_rate_and_ends_near_zero(fp32_training):
    training = fp32_training.model_copy(update={"schedule": "cosine"})
    rates = [task(training, round=round, rounds=10).learning_rate for round in range(1, 11)]
    assert rates[0] == pytest.approx(training.learning_rate)
    assert rates == sorted(rates, reverse=True)
    assert 0 < rates[-1] < 0.05 * training.learning_rate


@pytest.mark.parametrize(("own", "asked"), [(1, 4), (3, 4), (9, 4)])
def test_a_patient_gives_as_many_rows_as_the_plan_asks_whatever_it_has(
    generator, fp32_training, monkeypatch, own, asked
):
    seen = []
    slices, batch = toy_slices([own]), type(toy_slices([1])).batch
    monkeypatch.setattr(
        type(slices), "batch", lambda self, rows, device: (seen.append(rows), batch(self, rows, device))[1]
    )
    training = fp32_training.model_copy(update={"slices_per_patient": asked, "noise_multiplicity": 2})
    patient_batch(generator.objective, slices, 0, training, SeededRandom(0), CPU)
    assert len(seen[0]) == asked * 2
    assert len(set(seen[0].tolist())) == min(own, asked), "without replacement, as far as the patient's slices go"


def patients_from(first):
    return (toy_slices([4], seed=seed) for seed in count(first))


PRETRAINING = PretrainingConfig(steps=6, batch_size=2, mixed_slices=8)


def test_steps_alone_end_pretraining_and_are_what_its_bar_counts(generator, fp32_training, monkeypatch):
    """An hour passes with each look at the clock."""
    hours, shown = count(), []
    monkeypatch.setattr("cmrfed.training.pretraining.time.monotonic", lambda: 3600.0 * next(hours))
    found = pretrain(
        generator,
        patients_from,
        PRETRAINING,
        fp32_training,
        0,
        progress=lambda done, total: shown.append((done, total)),
    )
    assert len(found.losses) == 6
    assert set(found.weights) == set(read_weights(generator))
    assert shown == [(done, 6) for done in range(7)]


def test_after_few_steps_pretrainings_average_is_not_still_of_random_weights(generator):
    config = PRETRAINING.model_copy(update={"steps": 30})
    of_weights = {name: 0 for name, _ in generator.named_parameters()}
    weights, expected, last = averages_by_hand(generator, patients_from, config, of_weights)
    for name, array in expected.items():
        np.testing.assert_allclose(weights[name], array, atol=1e-5)
    left = {name: np.abs(weights[name] - last[name]).mean() for name in of_weights}
    assert any(value > 0 for value in left.values()), "it is an average"


def test_pretraining_uses_every_slice_once_and_mixes_patients():
    patients, pool, random = (
        (toy_slices([3], seed=seed) for seed in range(6)),
        Mixed(least=9, levels=1),
        SeededRandom(0),
    )
    batches = [pool.draw(4, patients, random) for _ in range(4)]
    with pytest.raises(ValueError, match="a step needs 4 slices, and after 6 patients no more came"):
        pool.draw(4, patients, random)  # 18 slices give four batches of four
    drawn = [image.numpy().tobytes() for batch in batches for image in batch.images]
    there = {image.tobytes() for seed in range(6) for image in toy_slices([3], seed=seed).images}
    assert len(set(drawn)) == 16 and set(drawn) <= there
    first = {image.numpy().tobytes() for image in batches[0].images}
    assert all(not first <= {image.tobytes() for image in toy_slices([3], seed=seed).images} for seed in range(6))
    assert (pool.patients, pool.slices) == (6, 16)


def test_slices_that_are_drawn_slowly_can_be_used_more_than_once():
    patients, pool = iter([toy_slices([3], seed=0)]), Mixed(least=9, levels=1, uses=3)
    drawn = [image.numpy().tobytes() for image in pool.draw(9, patients, SeededRandom(0)).images]
    assert Counter(drawn) == {image.tobytes(): 3 for image in toy_slices([3], seed=0).images}
    assert (pool.patients, pool.slices) == (1, 9)


def test_a_pretraining_whose_patients_run_out_gives_no_weights(generator, fp32_training):
    def few(first):
        return (toy_slices([4], seed=seed) for seed in range(first, 2))

    with pytest.raises(ValueError, match="after 2 patients no more came"):
        pretrain(generator, few, PRETRAINING, fp32_training, seed=0)


@pytest.mark.parametrize("whole_steps", [1, 4])
def test_an_interrupted_pretraining_goes_on_to_the_same_weights(
    tiny_generator_config, fp32_training, tmp_path, monkeypatch, whole_steps
):
    """Killed in the middle of a step, begun again in a new process: the same losses and weights, to the bit."""
    monkeypatch.setattr("cmrfed.training.pretraining.CHECKPOINT_EVERY_S", 0.0)

    def run(checkpoint=None):
        generator = build_generator(tiny_generator_config, 0)
        return pretrain(generator, patients_from, PRETRAINING, fp32_training, 7, checkpoint)

    whole, path = run(), tmp_path / "partial.safetensors"
    with interrupted_in_step(whole_steps + 1):
        run(path)
    assert steps_kept(path) == whole_steps
    resumed = run(path)
    assert resumed.losses == whole.losses and len(whole.losses) == 6
    assert (resumed.patients, resumed.slices) == (whole.patients, whole.slices)
    assert all(np.array_equal(resumed.weights[name], weight) for name, weight in whole.weights.items())
    assert steps_kept(path) == 6


def test_a_damaged_checkpoint_is_begun_anew(tiny_generator_config, fp32_training, tmp_path):
    path = tmp_path / "partial.safetensors"
    path.write_bytes(b"cut off")
    assert steps_kept(path) == steps_kept(tmp_path / "none") == 0
    generators = [build_generator(tiny_generator_config, 0) for _ in range(2)]
    anew, whole = (
        pretrain(generator, patients_from, PRETRAINING, fp32_training, 7, checkpoint).losses
        for generator, checkpoint in zip(generators, (path, None), strict=True)
    )
    assert anew == whole


def test_a_step_is_the_stated_equation(generator, fp32_training):
    """(clipped sum + noise) / (q x declared patients), with the sample and the noise drawn again by hand."""
    weights, slices, plan = trained_weights(generator), toy_slices([2, 3, 2, 4, 1]), toy_plan(declared_patients=40)
    noised = noised_sum(generator, slices, fp32_training, plan, plan.clipping, SeededRandom(9), CPU)
    random = SeededRandom(9)
    sampled = [p for p, u in enumerate(random.uniform(5)) if u <= plan.sample_rate]
    assert 0 < len(sampled) < 5
    batches = [patient_batch(generator.objective, slices, p, fp32_training, random, CPU) for p in sampled]
    losses = [partial(mean_loss, generator.objective, batch, fp32_training, CPU) for batch in batches]
    clipped = clipped_gradient_sum(weights, looped_gradients(weights, losses), plan.clipping)
    expected = (clipped + 1.0 * 0.5 * random.normal(len(clipped))) / (0.5 * 40)
    assert torch.allclose(plan.mean(noised, plan.clipping), expected, atol=1.0 * 0.5 * 2**-10 / (0.5 * 40))


def test_a_patients_draws_never_repeat(generator, fp32_training):
    """They come from the plan's own stream: a patient more must not shift the others' draws."""
    slices, random = toy_slices([4]), SeededRandom(0)
    batches = [patient_batch(generator.objective, slices, 0, fp32_training, random, CPU) for _ in range(5)]
    assert len({float(batch.draws["noises"].sum()) for batch in batches}) == 5


def test_vmap_and_loop_draw_the_same_and_release_the_same(tiny_generator_config, fp32_training):
    runs = {}
    for path in ("loop", "vmap"):
        training = fp32_training.model_copy(update={"patient_gradients": path})
        generator = build_generator(tiny_generator_config, 0)
        runs[path] = train(generator, toy_slices([3, 3, 3]), task(training, toy_plan())).update
    for name, update in runs["loop"].items():
        np.testing.assert_allclose(runs["vmap"][name], update, atol=2e-4)


def test_adaptive_clipping_tells_where_it_came_to_and_goes_on_from_there(generator, fp32_training):
    plan = toy_plan(adaptive=AdaptiveClipping())
    run = train(generator, toy_slices([3, 3, 3]), task(fp32_training, plan))
    assert run.max_grad_norm != plan.clipping.max_grad_norm
    assert task(fp32_training, plan, max_grad_norm=run.max_grad_norm).clipping.max_grad_norm == run.max_grad_norm
    assert train(generator, toy_slices([3]), task(fp32_training, toy_plan())).max_grad_norm is None


def test_a_plan_whose_noise_is_distributed_never_trains_alone(generator, fp32_training):
    distributed = toy_plan(sites=3)
    with pytest.raises(ValueError, match="alone"):
        train(generator, toy_slices([3]), task(fp32_training, distributed))
    with pytest.raises(ValueError, match="distributed"):
        contribution(generator, toy_slices([3]), task(fp32_training, toy_plan()))


def test_contributions_add_up_to_the_pooled_step(generator, fp32_training):
    """Without sampling, and noise taken off by its seed: the sum over sites is the clipped sum over all patients."""
    plan = toy_plan(sample_rate=1.0, sites=2)
    parts = [toy_slices([2, 3], seed=1), toy_slices([4, 1], seed=2, first=2)]
    total, expected = 0, 0
    for site, slices in enumerate(parts):
        one = task(fp32_training, plan, site=site)
        total = total + contribution(generator, slices, one).values
        random = plan.random(site, 1)
        random.uniform(2)  # the sampling
        batches = [patient_batch(generator.objective, slices, p, fp32_training, random, CPU) for p in range(2)]
        losses = [partial(mean_loss, generator.objective, batch, fp32_training, CPU) for batch in batches]
        weights = trained_weights(generator)
        clipped = clipped_gradient_sum(weights, looped_gradients(weights, losses), plan.clipping)
        expected = expected + clipped + random.normal(len(clipped)) * 0.5 / 2**0.5
    found = plan.mean(total, plan.clipping, sites=2)
    assert torch.allclose(found, expected / (4 * 2), atol=0.5 * 2**-10 / 4)
