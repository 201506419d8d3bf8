"""A local run releases the update and the event, learns without privacy, and is the same for the same seed."""

import numpy as np
import pytest
import torch
from conftest import toy_plan, toy_slices

from cmrfed.config import PretrainingConfig
from cmrfed.generators import build_generator
from cmrfed.privacy import SeededRandom
from cmrfed.training import LocalTask, patient_loss, pretrain, train, validation_losses
from cmrfed.updates import read_weights


def task(training, plan=None, **changes):
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


@pytest.mark.parametrize("plan", [None, toy_plan()])
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
    training = fp32_training.model_copy(update={"slices_per_patient": asked, "draws_per_slice": 2})
    patient_loss(generator, slices, 0, training, SeededRandom(0), torch.device("cpu"))
    assert len(seen[0]) == asked * 2
    assert len(set(seen[0].tolist())) == min(own, asked), "without replacement, as far as the patient's slices go"


def test_pretraining_stops_at_its_steps_or_its_minutes(generator, fp32_training):
    config = PretrainingConfig(steps=5, minutes=10, batch_size=2)
    weights, losses = pretrain(generator, toy_slices([4]), config, fp32_training, seed=0)
    assert len(losses) == 5
    assert set(weights) == set(read_weights(generator))
    slow = config.model_copy(update={"steps": 10**6, "minutes": 0.01})
    assert len(pretrain(generator, toy_slices([4]), slow, fp32_training, seed=0)[1]) < 10**4
