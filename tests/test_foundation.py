"""The public start that comes with the package: of today's phantom, network and grid, or refused."""

import numpy as np
import pytest
from refusals import refuses
from tiny_runs import tiny_run_config

from cmrfed import foundation
from cmrfed.api import load_model
from cmrfed.config import RunConfig, UserError
from cmrfed.federation.start import initial_weights, refuse_few_rounds, refuse_unusable_start
from cmrfed.foundation import LARGEST_BYTES, SHIPPED, card_of, is_foundation, load_foundation, save_foundation
from cmrfed.generators import build_generator
from cmrfed.generators.directions import NAME as DIRECTIONS
from cmrfed.updates import load_arrays, read_weights

DEFAULT = RunConfig(data={"root": ".", "sources": {}})


@pytest.fixture
def written(tmp_path):
    """A foundation of a tiny network; its file, configuration and weights."""
    config = tiny_run_config(tmp_path)
    weights = read_weights(build_generator(config.generator, seed=3))
    save_foundation(tmp_path / "f.safetensors", config, weights, {"steps": 7})
    return tmp_path / "f.safetensors", config, weights


def changed(config, part, **values):
    return config.model_copy(update={part: getattr(config, part).model_copy(update=values)})


def test_what_is_shipped_fits_the_code_and_starts_a_default_run():
    weights, told = load_foundation(DEFAULT)
    generator = build_generator(DEFAULT.generator, seed=0)
    assert weights.keys() - {DIRECTIONS} == read_weights(generator).keys() - {DIRECTIONS, "directions.coordinates"}
    assert "no patient" in told["data"]
    start, _ = initial_weights(changed(DEFAULT, "generator", init="foundation"))
    assert all(np.array_equal(start[name], weights[name]) for name in weights if name != DIRECTIONS)


def test_what_is_shipped_is_small_and_half_precision():
    assert SHIPPED.stat().st_size <= LARGEST_BYTES
    assert {array.dtype for array in load_arrays(SHIPPED)[0].values()} == {np.dtype(np.float16)}


def test_weights_come_back_as_they_were_to_half_precision(written):
    path, config, weights = written
    found, told = load_foundation(config, path)
    assert told == {"steps": 7}
    for name, array in weights.items():
        assert found[name].dtype == np.float32
        np.testing.assert_allclose(found[name], array, rtol=2**-11, atol=2**-25)


@pytest.mark.parametrize(
    ("part", "values", "said"),
    [
        ("generator", {"channels": (8, 16)}, r"generator\.channels=\(8, 8\) \(found \(8, 16\)\)"),
        ("generator", {"family": "ddpm"}, r"generator\.family=flow \(found ddpm\)"),
        ("generator", {"conditions": ("mask", "phase")}, r"generator\.conditions="),
        ("preprocessing", {"field_of_view_mm": 120.0}, r"preprocessing\.field_of_view_mm="),
        ("preprocessing", {"size": 32}, r"preprocessing\.size="),
    ],
)
def test_another_generator_or_grid_is_refused_with_the_key(written, part, values, said):
    path, config, _ = written
    with pytest.raises(UserError, match=rf"^generator.init: the foundation was trained with {said}.*init=phantom$"):
        load_foundation(changed(config, part, **values), path)


@pytest.mark.parametrize(
    ("part", "values"),
    [
        ("generator", {"trainable": "modulation", "init": "foundation"}),
        ("generator", {"condition_dropout": 0.5}),
        ("preprocessing", {"bias_correction": True}),
    ],
)
def test_what_changes_nothing_of_the_weights_is_free(written, part, values):
    path, config, weights = written
    assert load_foundation(changed(config, part, **values), path)[0].keys() == weights.keys()


def test_a_foundation_of_other_phantoms_is_refused(written, monkeypatch):
    path, config, _ = written
    monkeypatch.setattr(foundation, "PHANTOM_VERSION", 99)
    with pytest.raises(UserError, match=r"trained on phantoms of version .*, this is version 99; make it again"):
        load_foundation(config, path)


def test_only_what_pretrain_wrote_is_written_over(written, tmp_path):
    path, _, _ = written
    (tmp_path / "other.safetensors").write_bytes(b"mine")
    assert is_foundation(path) and not is_foundation(tmp_path / "other.safetensors")


def test_its_card_is_that_of_the_file():
    assert SHIPPED.with_suffix(".md").read_text(encoding="utf-8") == card_of(SHIPPED)


def test_a_foundation_of_ones_own_is_a_start_by_its_path(written):
    path, config, weights = written
    config = changed(config, "generator", init=str(path))
    refuse_unusable_start(config)
    start, told = initial_weights(config)
    assert told == {"steps": 7}
    assert all(np.allclose(start[name], array, rtol=2**-11, atol=2**-25) for name, array in weights.items())


def test_random_weights_are_refused_where_a_part_is_trained_on_phantoms_alone(tmp_path):
    config = tiny_run_config(tmp_path, generator={"space": "kl", "patch": 1})
    with pytest.raises(UserError, match=r"^generator.init: null .*reconstruction.*choose generator.init=phantom"):
        refuse_unusable_start(config)
    refuse_unusable_start(changed(config, "generator", autoencoder="private"))
    refuse_unusable_start(changed(config, "generator", init="phantom"))


def test_pretraining_that_would_not_take_place_is_refused_before_a_run_begins():
    with pytest.raises(UserError, match=r"^pretraining: generator.init=foundation .*choose generator.init=phantom"):
        refuse_unusable_start(changed(DEFAULT, "pretraining", steps=5000))
    refuse_unusable_start(DEFAULT)


def test_it_can_be_drawn_from_as_it_is():
    model = load_model("foundation")
    assert model.preprocessing == DEFAULT.preprocessing
    half = {name: array.astype(np.float32) for name, array in load_arrays(SHIPPED)[0].items()}
    assert all(np.array_equal(half[name], array) for name, array in read_weights(model.generator).items())


def test_each_part_of_a_generator_has_a_round_to_learn_in(tmp_path):
    two_parts = {"family": "mask_diffusion", "init": None}
    refuse_few_rounds(tiny_run_config(tmp_path, generator=two_parts, federation={"rounds": 2}))
    with refuses("federation.rounds: this generator", "in 2 stages, found 1"):
        refuse_few_rounds(tiny_run_config(tmp_path, generator=two_parts, federation={"rounds": 1}))
