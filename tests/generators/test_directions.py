"""A network that is moved in few directions: what it says, what is trained, and what comes of it."""

import numpy as np
import pytest
import torch
from toy_batches import a_batch, drawn, without_zeros

from cmrfed.generators import build_generator
from cmrfed.site.compute import needs
from cmrfed.updates import read_weights, write_weights

DIRECTIONS = 6


@pytest.fixture(params=["flow", "ddpm", "edm"])
def generator(request, tiny_generator_config):
    changes = {"family": request.param, "trainable": "directions", "directions": DIRECTIONS}
    return without_zeros(build_generator(tiny_generator_config.model_copy(update=changes), seed=1)).enter(1, 1)


def plain(generator):
    """The same network, whose modulation is trained."""
    config = generator.config.model_copy(update={"trainable": "modulation"})
    own = {name: one for name, one in read_weights(generator).items() if not name.startswith("directions.")}
    write_weights(found := build_generator(config, seed=0), own)
    return found


def losses(generator):
    return generator.objective.losses(drawn(generator, a_batch()))


def flat(parts):
    return torch.cat([part.flatten() for part in parts])


def test_as_many_numbers_are_trained_as_there_are_directions(generator):
    assert [len(one) for one in generator.parameters() if one.requires_grad] == [DIRECTIONS]


def test_at_zero_it_is_the_network_itself(generator):
    with torch.no_grad():
        generator.directions.coordinates.zero_()
    assert torch.equal(losses(generator), losses(plain(generator)))


def test_the_gradient_is_that_of_the_moved_weights_along_the_directions(generator):
    """d loss / d c = D' d loss / d w, with w = w_0 + D c put into a network by hand."""
    by_hand = plain(generator)
    weights = list(by_hand.objective.weights())
    steps = (generator.directions.directions @ generator.directions.coordinates).detach()
    with torch.no_grad():
        for weight, step in zip(weights, steps.split([weight.numel() for weight in weights]), strict=True):
            weight += step.view_as(weight)
    (found,) = torch.autograd.grad(losses(generator).mean(), [generator.directions.coordinates])
    expected = flat(torch.autograd.grad(losses(by_hand).mean(), weights)) @ generator.directions.directions
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)


def test_folding_changes_where_it_stands_not_what_it_says(generator):
    before = losses(generator)
    generator.directions.fold(generator.network)
    assert not generator.directions.coordinates.any()
    torch.testing.assert_close(losses(generator), before, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(losses(plain(generator)), before, rtol=1e-4, atol=1e-6)


def test_the_order_of_directions_is_that_of_the_weights_that_are_trained(tiny_generator_config):
    """Directions are made for `objective.weights()` of a generator whose modulation is trained."""
    directed, modulated = (
        build_generator(tiny_generator_config.model_copy(update={"trainable": name}), seed=0)
        for name in ("directions", "modulation")
    )
    names = {id(weight): name for name, weight in modulated.network.named_parameters()}
    assert directed.directions.names == tuple(names[id(weight)] for weight in modulated.objective.weights())
    assert sum(directed.directions.sizes) == sum(one.numel() for one in modulated.objective.weights())


def test_until_others_are_written_over_them_directions_are_drawn_by_the_seed_with_length_near_one(
    tiny_generator_config,
):
    config = tiny_generator_config.model_copy(update={"trainable": "directions"})
    one, other, third = (build_generator(config, seed).directions.directions for seed in (0, 0, 1))
    assert torch.equal(one, other) and not torch.equal(one, third)
    np.testing.assert_allclose(one.norm(dim=0).numpy(), 1, atol=0.5)


def test_weights_are_moved_in_single_precision_where_the_network_computes_in_less(generator):
    exact = generator.directions.moved(generator.network)
    with torch.autocast("cpu", torch.bfloat16):
        found = generator.directions.moved(generator.network)
    assert all(torch.equal(found[name], exact[name]) for name in exact)


def test_what_a_step_needs_is_found_on_paper_for_directions_too(tiny_generator_config):
    few, many = (
        needs(tiny_generator_config.model_copy(update={"trainable": "directions", "directions": count}), 4, 16)
        for count in (2, 50)
    )
    assert 0 < few.weights < many.weights and few.memory_bytes < many.memory_bytes
