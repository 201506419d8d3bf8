"""Public directions: the steepest of a network's weights, scaled so that a gradient in them is a Newton step."""

from functools import partial

import numpy as np
import pytest
import torch
from conftest import toy_slices
from tiny_runs import tiny_run_config
from torch.func import functional_call, jacrev
from toy_batches import a_batch, drawn, without_zeros

from cmrfed.api import load_model
from cmrfed.config import UserError
from cmrfed.federation import start
from cmrfed.federation.start import initial_weights
from cmrfed.foundation import SHIPPED, save_foundation
from cmrfed.generators import build_generator
from cmrfed.generators.directions import NAME
from cmrfed.training import directions as module
from cmrfed.training import public_directions
from cmrfed.updates import load_arrays, read_weights, save_generator

COUNT = 5


def modulated(tiny_generator_config):
    config = tiny_generator_config.model_copy(update={"trainable": "modulation", "conditions": ("mask", "vendor")})
    return without_zeros(build_generator(config, seed=1)).enter(1, 1)


def patients(first, size=16):
    """Slices of toy patients without end; their vendor is known, so that nothing is made up."""
    yield from (toy_slices([4], size, seed=number) for number in range(first, first + 10_000))


def exact_curvature(generator, batch):
    """2 / pixels J' J, mean over rows, by autograd's whole Jacobian."""
    names = {id(weight): name for name, weight in generator.network.named_parameters()}
    own = {names[id(weight)]: weight.detach() for weight in generator.trained()}
    times, noises = batch.draws["times"], batch.draws["noises"]
    x_t = generator.corrupt(batch.images, noises, times)

    def said(weights):
        return functional_call(generator.network, weights, (x_t, generator.path.network_times(times), batch.conditions))

    jacobian = torch.cat([part.flatten(4).flatten(0, 3) for part in jacrev(said)(own).values()], dim=1).double()
    return (2 * jacobian.T @ jacobian / len(jacobian)).numpy()


def test_in_their_coordinates_the_curvature_is_one_everywhere(tiny_generator_config, monkeypatch):
    monkeypatch.setattr(module, "ROWS_OF_A_DIRECTION", 100)
    generator, small = modulated(tiny_generator_config), partial(patients, size=8)
    found = public_directions(generator, list(generator.trained()), small, COUNT, seed=0)
    rows = [generator.objective.told(generator.objective.drawn(next(small(n)).batch(range(4)), stream(n)))
            for n in range(20_000, 20_020)]  # fmt: skip
    curvature = np.mean([exact_curvature(generator, batch) for batch in rows], axis=0)
    within = found.T.astype(np.float64) @ curvature @ found
    np.testing.assert_allclose(np.diag(within), 1, atol=0.35)
    assert np.abs(within - np.diag(np.diag(within))).max() < 0.35
    steepest = np.linalg.eigvalsh(curvature)[::-1][:COUNT]
    lengths = np.linalg.norm(found, axis=0)
    np.testing.assert_allclose(1 / lengths**2, steepest, rtol=0.5)
    assert (np.diff(lengths) > 0).all(), "the steepest comes first, and needs the shortest step"


def stream(seed):
    return torch.Generator().manual_seed(seed)


def test_they_are_decided_by_the_seed(tiny_generator_config):
    generator = modulated(tiny_generator_config)
    one, same, other = (public_directions(generator, list(generator.trained()), patients, COUNT, n) for n in (0, 0, 1))
    assert np.array_equal(one, same) and not np.array_equal(one, other)


def test_there_are_no_more_than_the_network_has_weights_to_move(tiny_generator_config, monkeypatch):
    monkeypatch.setattr(module, "ROWS_OF_A_DIRECTION", 1)
    generator = modulated(tiny_generator_config)
    weights = list(generator.trained())[:1]
    assert public_directions(generator, weights, patients, 10**6, seed=0).shape[1] <= weights[0].numel()


@pytest.fixture
def directed(tmp_path):
    """A run's configuration that starts from a foundation of its own, which has COUNT directions."""
    config = tiny_run_config(tmp_path, generator={"trainable": "directions", "directions": COUNT - 2})
    generator = without_zeros(build_generator(config.generator, 3))
    own = {name: one for name, one in read_weights(generator).items() if name != COORDINATES}
    entries = own.pop(NAME).shape[0]
    known = np.random.default_rng(0).standard_normal((entries, COUNT)).astype(np.float16).astype(np.float32)
    save_foundation(tmp_path / "f.safetensors", config, own | {NAME: known}, {"steps": 7})
    generator = config.generator.model_copy(update={"init": str(tmp_path / "f.safetensors")})
    return config.model_copy(update={"generator": generator}), known


COORDINATES = "directions.coordinates"


def test_a_run_takes_the_steepest_directions_that_its_start_comes_with(directed):
    config, known = directed
    weights, _ = initial_weights(config)
    assert np.array_equal(weights[NAME], known[:, : COUNT - 2])
    assert not weights[COORDINATES].any()


def test_where_its_start_has_too_few_they_are_made_once_of_phantoms_and_kept(directed, monkeypatch):
    config, known = directed
    more = config.generator.model_copy(update={"directions": COUNT + 1})
    config = config.model_copy(update={"generator": more})
    one, _ = initial_weights(config)
    assert one[NAME].shape == (len(known), COUNT + 1)
    monkeypatch.setattr(start, "make_directions", lambda *_: pytest.fail("made again"))
    again, _ = initial_weights(config)
    assert np.array_equal(one[NAME], again[NAME])


def test_more_directions_than_the_modulation_has_numbers_are_refused_by_their_key(directed, monkeypatch):
    config, known = directed
    most = config.generator.model_copy(update={"directions": len(known) + 1})
    random = np.random.default_rng(0)  # as many slices of a hundred hearts would say the same
    monkeypatch.setattr(module, "_rows", lambda *_: (random.standard_normal(len(known)) for _ in range(len(known) + 1)))
    monkeypatch.setattr(module, "ROWS_OF_A_DIRECTION", 1)
    with pytest.raises(
        UserError, match=rf"^generator.directions: .* in \d+ directions .*, found {len(known) + 1}; choose"
    ):
        initial_weights(config.model_copy(update={"generator": most}))


def test_an_untrained_network_whose_last_layer_hides_all_has_no_directions(directed):
    config, _ = directed
    blank = read_weights(build_generator(config.generator.model_copy(update={"trainable": "all"}), 3))
    assert start.make_directions(config, blank, 2).shape[1] == 0


def test_a_start_in_directions_is_the_network_where_they_led(directed, tmp_path):
    """A run that was moved in directions, as the start of one that trains all weights, or other directions."""
    config, _ = directed
    moved = without_zeros(build_generator(config.generator, seed=0))
    save_generator(tmp_path / "model.safetensors", moved, read_weights(moved))
    batch = drawn(moved, a_batch())
    for name in ("all", "directions"):
        changes = {"init": str(tmp_path / "model.safetensors"), "trainable": name}
        later = config.model_copy(update={"generator": config.generator.model_copy(update=changes)})
        weights, _ = initial_weights(later)
        generator = build_generator(later.generator, seed=5)
        for own, array in weights.items():
            generator.get_parameter(own).data.copy_(torch.from_numpy(array))
        torch.testing.assert_close(
            generator.objective.losses(batch), moved.objective.losses(batch), rtol=1e-4, atol=1e-6
        )


def test_those_that_are_shipped_are_enough_for_a_default_run_and_stay_out_of_what_is_drawn_from():
    assert load_arrays(SHIPPED)[0][NAME].shape[1] >= load_model("foundation").generator.config.directions
    assert NAME not in read_weights(load_model("foundation").generator)
