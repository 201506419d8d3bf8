"""Weights travel whole or not at all, and arithmetic on them is what it says."""

import numpy as np
import pytest
import torch
from refusals import refuses
from safetensors.numpy import save_file

from cmrfed.config import UserError
from cmrfed.generators import build_generator
from cmrfed.updates import (
    apply_update,
    average,
    difference,
    load_generator,
    load_weights,
    read_weights,
    save_generator,
    save_weights,
    write_weights,
)


@pytest.fixture
def generator(tiny_generator_config):
    return build_generator(tiny_generator_config, seed=0)


def test_applying_a_difference_gives_the_weights_back(generator, tiny_generator_config):
    before, after = read_weights(generator), read_weights(build_generator(tiny_generator_config, seed=5))
    restored = apply_update(before, difference(after, before))
    assert all(np.allclose(restored[name], after[name], atol=1e-6) for name in after)


def test_an_update_leaves_alone_what_it_does_not_name():
    weights = {"a": np.ones(2, np.float32), "b": np.ones(3, np.float32)}
    moved = apply_update(weights, {"a": np.full(2, 2.0, np.float32)}, scale=0.5)
    assert moved["a"].tolist() == [2, 2]
    assert moved["b"].tolist() == [1, 1, 1]


def test_average_is_the_exponential_moving_one():
    old, new = {"a": np.zeros(1, np.float32)}, {"a": np.ones(1, np.float32)}
    assert average(old, new, 0.75)["a"] == pytest.approx(0.25)


def test_a_saved_generator_comes_back_with_its_notes(generator, tmp_path):
    save_generator(tmp_path / "model.safetensors", generator, read_weights(generator), rounds=3)
    loaded, notes = load_generator(tmp_path / "model.safetensors")
    assert notes == {"rounds": 3}
    assert loaded.config == generator.config
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), generator.parameters(), strict=True))


@pytest.mark.parametrize("content", [b"", b"not safetensors", None])
def test_a_damaged_or_missing_file_is_named_in_one_line(tmp_path, content):
    path = tmp_path / "model.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"model\.safetensors: not a readable weights file") as error:
        load_weights(path)
    assert "\n" not in str(error.value)


def test_a_truncated_file_is_never_half_read(tmp_path):
    path = tmp_path / "w.safetensors"
    save_weights(path, {"a": np.ones(1000, np.float32)}, {})
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match="not a readable weights file"):
        load_weights(path)


def test_an_interrupted_save_leaves_the_last_file_whole(tmp_path, monkeypatch):
    path = tmp_path / "w.safetensors"
    save_weights(path, {"a": np.ones(3, np.float32)}, {"round": 1})
    monkeypatch.setattr("pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        save_weights(path, {"a": np.zeros(3, np.float32)}, {"round": 2})
    weights, notes = load_weights(path)
    assert notes == {"round": 1}
    assert weights["a"].tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda w: {**w, "nonsense": np.ones(1, np.float32)}, "nonsense"),
        (lambda w: {name: array[:1] for name, array in w.items()}, "shape"),
        (lambda w: {name: array * np.nan for name, array in w.items()}, "not finite"),
    ],
)
def test_weights_that_do_not_fit_change_nothing(generator, change, said):
    before = read_weights(generator)
    with pytest.raises(UserError, match=said):
        write_weights(generator, change(dict(before)))
    assert all(np.array_equal(before[name], array) for name, array in read_weights(generator).items())


@pytest.mark.parametrize("kind", [np.float64, np.float16, np.int64, np.uint8, np.bool_, np.str_])
def test_weights_in_another_format_than_float32_are_refused(tmp_path, tiny_generator_config, kind):
    generator = build_generator(tiny_generator_config, seed=0)
    weights = read_weights(generator)
    name = next(iter(weights))
    with refuses(name, "weights are float32"):
        write_weights(generator, {name: weights[name].astype(kind)})
    if kind is not np.str_:  # which a file cannot hold
        save_weights(tmp_path / "x.safetensors", {name: weights[name].astype(kind)}, {})
        with refuses(tmp_path / "x.safetensors", name, "weights are float32"):
            load_weights(tmp_path / "x.safetensors")


@pytest.mark.parametrize("header", ["[" * 100_000, "[]", "3", '{"generator": {"family": "gan"}}', '{"generator": []}'])
def test_a_file_of_weights_with_a_wild_header_is_one_line(tmp_path, header):
    save_file({"a": np.zeros(1, np.float32)}, tmp_path / "x.safetensors", {"cmrfed": header})
    with refuses(tmp_path / "x.safetensors"):
        load_generator(tmp_path / "x.safetensors")


def test_an_array_is_written_as_it_reads_however_it_lies_in_memory(tmp_path):
    columns = np.arange(12, dtype=np.float32).reshape(3, 4)[:, [2, 0]]
    turned = np.arange(6, dtype=np.float32).reshape(2, 3).T
    written = {"columns": columns, "turned": turned, "number": np.float32(3).reshape(())}
    save_weights(tmp_path / "w.safetensors", written, {})
    found, _ = load_weights(tmp_path / "w.safetensors")
    assert all(found[name].shape == one.shape and np.array_equal(found[name], one) for name, one in written.items())
