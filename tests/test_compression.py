"""Noised updates in fewer bytes: what is read is what was sent, within stated bounds, and never more than an honest
site could send."""

import io
import json
import math

import numpy as np
import pytest
from conftest import toy_plan, toy_slices
from homes import answer, make_home
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from cmrfed.compression import compressed, decompressed, forms
from cmrfed.config import AdaptiveClipping, MessageConfig, UserError, read_stage
from cmrfed.config.run import RunConfig
from cmrfed.generators import build_generator
from cmrfed.privacy import NoPrivacy
from cmrfed.replies import Attendance, Reply, Terms, trained_shapes
from cmrfed.site import Request, local
from cmrfed.training import LocalTask, train
from cmrfed.training.reach import sent_reach, update_reach
from cmrfed.updates import read_weights

NONE, INT8 = MessageConfig(), MessageConfig(compression="int8")
TOP_K = MessageConfig(compression="top_k", top_k_share=0.3)
EVERY = pytest.mark.parametrize("messages", [NONE, INT8, TOP_K], ids=["none", "int8", "top_k"])
ROOMY = toy_plan(seed=None, target_epsilon=1000.0)

numbers = st.floats(-1e3, 1e3, width=32)
updates = st.fixed_dictionaries(
    {"b": arrays.arrays(np.float32, (2, 3), elements=numbers), "a": arrays.arrays(np.float32, 5, elements=numbers)}
)


def shapes_of(update):
    return {name: array.shape for name, array in update.items()}


def read(messages, update, residual=()):
    sent, rest = compressed(messages, update, dict(residual))
    wanted = forms(messages, shapes_of(update))
    assert {name: (array.dtype.name, array.shape) for name, array in sent.items()} == {**wanted}
    return decompressed(messages, sent, shapes_of(update)), rest


@EVERY
@given(update=updates)
def test_an_update_is_sent_in_the_forms_that_were_said_and_read_with_its_names_and_shapes(messages, update):
    found, _ = read(messages, update)
    assert shapes_of(found) == shapes_of(update)
    assert all(array.dtype == np.float32 for array in found.values())


@given(update=updates)
def test_eight_bits_are_off_by_half_a_scale_of_their_own_tensor_at_most(update):
    found, rest = read(INT8, update)
    assert rest == {}
    for name, array in update.items():
        half = np.abs(array).max() / 127 / 2
        assert (np.abs(found[name] - array) <= half * (1 + 1e-4) + 1e-30).all()


@given(first=updates, second=updates)
def test_of_top_k_the_largest_are_sent_whole_and_nothing_is_ever_lost(first, second):
    """What was sent in two rounds, and what is left, are the two updates."""
    one, residual = read(TOP_K, first)
    two, rest = read(TOP_K, second, residual)
    for name in first:
        np.testing.assert_allclose(one[name] + two[name] + rest[name], first[name] + second[name], atol=1e-3)
    flat = np.concatenate([first["a"], first["b"].ravel()])
    sent = np.concatenate([one["a"], one["b"].ravel()])
    kept = np.sort(np.abs(flat))[-3:]  # 0.3 of 11
    np.testing.assert_array_equal(np.sort(np.abs(sent))[-3:], kept)
    assert np.count_nonzero(sent) <= 3


def test_a_full_model_of_32_bits_is_a_quarter_or_a_fiftieth():
    shapes = {"w": (1000, 100)}
    sizes = {
        messages.compression: sum(np.dtype(form.dtype).itemsize * math.prod(form.shape) for form in found.values())
        for messages in (NONE, INT8, MessageConfig(compression="top_k"))
        if (found := forms(messages, shapes))
    }
    assert sizes == {"none": 400_000, "int8": 100_004, "top_k": 8_000}


def test_one_update_that_is_not_finite_does_not_spoil_all_later_ones():
    bad = {"a": np.array([np.nan, np.inf, -np.inf, 1.0, 2.0], np.float32)}
    _, rest = compressed(MessageConfig(compression="top_k", top_k_share=0.2), bad, {})
    assert np.isfinite(rest["a"]).all()
    sent, _ = compressed(INT8, bad, {})
    with pytest.raises(UserError, match="its scales are not all finite"):
        decompressed(INT8, sent, {"a": (5,)})


# at a site


@pytest.fixture
def weights(tiny_generator_config):
    return read_weights(build_generator(tiny_generator_config, seed=0))


@pytest.fixture
def ask(tiny_generator_config, fp32_training):
    def make(messages, round=1):
        task = LocalTask(training=fp32_training, plan=ROOMY, round=round, rounds=3)
        return Request(run="run", generator=tiny_generator_config, task=task, messages=messages)

    return make


def crash(*_, **__):
    raise KeyboardInterrupt


def same(one, other):
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


@EVERY
def test_an_answer_is_the_same_bytes_again_however_it_is_sent_and_is_paid_for_once(tmp_path, weights, ask, messages):
    home = make_home(tmp_path)
    first, again = (answer(home, ask(messages), weights) for _ in range(2))
    assert same(first.update, again.update)
    wanted = forms(messages, trained_shapes(ask(messages)))
    assert {name: array.dtype.name for name, array in first.update.items()} == {n: f.dtype for n, f in wanted.items()}
    assert len(home.ledger.rows()) == 1


def test_a_crash_neither_forgets_what_is_still_to_be_sent_nor_counts_it_twice(tmp_path, weights, ask, monkeypatch):
    """Noise is fixed, so that a site that crashes everywhere can be compared with one that never does."""
    train_whole, key = local.train, bytes(32)
    monkeypatch.setattr("cmrfed.site.home.fresh_key", lambda: key)
    calm, unlucky = make_home(tmp_path / "calm"), make_home(tmp_path / "unlucky")
    expected = [answer(calm, ask(TOP_K, round), weights).update for round in (1, 2, 3)]
    found = []
    for round in (1, 2, 3):
        for owner, name in ((local, "train"), (local, "compressed"), (local, "save_weights")):
            with monkeypatch.context() as broken:
                broken.setattr(owner, name, crash)
                with pytest.raises(KeyboardInterrupt):
                    answer(unlucky, ask(TOP_K, round), weights)
        with monkeypatch.context() as late:
            late.setattr(type(unlucky), "log_round", crash)
            with pytest.raises(KeyboardInterrupt):
                answer(unlucky, ask(TOP_K, round), weights)
        found.append(answer(unlucky, ask(TOP_K, round), weights).update)
    assert local.train is train_whole
    assert all(map(same, found, expected))
    assert not same(expected[1], answer(make_home(tmp_path / "third"), ask(TOP_K, 2), weights).update), (
        "the second answer has something of the first round in it"
    )
    assert len(unlucky.ledger.rows()) == 3


# at the server


def npy(array):
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()


@pytest.fixture
def heard(tiny_generator_config, fp32_training):
    """What the server makes of an honest answer in which some arrays are others."""

    def hear(messages, plan=ROOMY, **others):
        task = LocalTask(training=fp32_training, plan=plan, round=1, rounds=3)
        request = Request(run="run", generator=tiny_generator_config, task=task, messages=messages)
        generator = build_generator(tiny_generator_config, seed=0)
        weights = read_weights(generator)
        run = train(generator, toy_slices([2, 3, 2, 2]), task)
        sent, _ = compressed(messages, run.update, {})
        told = {name: npy(array) for name, array in sent.items()}
        told |= {n: npy(one(sent[n])) if callable(one) else one for n, one in others.items()}
        notes = {"site": "A"} | ({} if run.loss is None else {"loss": run.loss})
        if run.max_grad_norm is not None:
            notes["max_grad_norm"] = run.max_grad_norm
        attendance = Attendance("A")
        found = attendance.heard([Reply(1, None, notes, told)], Terms(request, weights).update)
        return (found["A"].update if found else None), attendance.reasons.get("A"), run.update

    return hear


@EVERY
@pytest.mark.parametrize(
    "plan", [NoPrivacy(), ROOMY, toy_plan(seed=None, adaptive=AdaptiveClipping())], ids=["none", "fixed", "adaptive"]
)
def test_an_honest_answer_is_read_however_it_is_sent(heard, messages, plan):
    found, reason, update = heard(messages, plan)
    assert reason is None
    whole = {name: np.abs(array).max() for name, array in update.items()}
    assert all(np.abs(found[name] - array).max() <= whole[name] for name, array in update.items())


BAD = {
    "a scale that is NaN": (INT8, {"scales": lambda s: s * np.nan}, "scales are not all finite"),
    "a scale below 0": (INT8, {"scales": lambda s: -s}, "scales are not all finite and 0 or more"),
    "a scale of 3e38": (INT8, {"scales": lambda s: s * 0 + np.float32(3e38)}, "holds values that are not finite"),
    "a scale of 1e9": (INT8, {"scales": lambda s: s * 0 + np.float32(1e9)}, "its update moves a weight by"),
    "a scale too few": (INT8, {"scales": lambda s: s[:-1]}, "scales is not float32 of shape"),
    "numbers of 16 bits": (INT8, {"values": lambda v: v.astype(np.int16)}, "values is not int8 of shape"),
    "a number too few": (INT8, {"values": lambda v: v[:-1]}, "values is not int8 of shape"),
    "a header alone": (INT8, {"values": npy(np.zeros(1, np.int8))[:128]}, "values is not int8 of shape"),
    "a weight besides": (INT8, {"x": npy(np.zeros(1, np.float32))}, "arrays of trained weights and 3 in all"),
    "a place twice": (TOP_K, {"places": lambda p: p * 0}, "its places do not grow"),
    "places beyond": (TOP_K, {"places": lambda p: p + np.uint32(2**31)}, "its places do not grow"),
    "places backwards": (TOP_K, {"places": lambda p: p[::-1].copy()}, "its places do not grow"),
    "values NaN": (TOP_K, {"values": lambda v: v * np.nan}, "holds values that are not finite"),
    "values too large": (TOP_K, {"values": lambda v: v * 0 + np.float32(1e9)}, "its update moves a weight by"),
    "fewer than asked for": (
        TOP_K,
        {"places": lambda p: p[:-1], "values": lambda v: v[:-1]},
        "places is not uint32 of shape",
    ),
    "whole where not asked for": (NONE, {"values": npy(np.zeros(3, np.int8))}, "arrays of trained weights"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_no_honest_site_sends_is_dropped_with_a_reason(heard, kind):
    messages, others, said = BAD[kind]
    found, reason, _ = heard(messages, **others)
    assert found is None and said in reason and len(reason) < 400


def test_the_reach_of_what_is_sent_covers_an_honest_sites_and_grows_by_what_was_not_sent_yet(fp32_training):
    task = LocalTask(training=fp32_training, plan=ROOMY, round=3, rounds=3)
    one = update_reach(task, 1000, 1.0)
    assert sent_reach(task, NONE, 1000, 1.0) == one
    three = sent_reach(task, TOP_K, 1000, 1.0)
    assert (three.entry, three.norm) == pytest.approx((3 * one.entry, 3 * one.norm))
    rounded = sent_reach(task, INT8, 1000, 1.0)
    # as long as an honest update can be, and all but one of its numbers just above the middle of two steps
    steps = np.linspace(0.5, 0.999, 1000) * one.entry / 127
    others = np.sqrt((0.9999 * one.norm) ** 2 - (127 * steps) ** 2) / math.sqrt(999)
    worst = np.argmin((others / steps - 0.5) % 1)
    whole = np.full(1000, others[worst], np.float32)
    whole[0] = 127 * steps[worst]
    found, _ = read(INT8, {"w": whole})
    assert np.linalg.norm(whole) < one.norm < np.linalg.norm(found["w"])
    assert rounded.holds(float(np.abs(found["w"]).max()), float(np.linalg.norm(found["w"])))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"privacy": {"mode": "distributed"}, "federation": {"compression": "int8"}}, "a masked one alone is sent"),
        ({"privacy": {"mode": "distributed"}, "federation": {"minimum_replies": 2}}, "privacy.dropouts says"),
        ({"federation": {"compression": "top_k"}}, "which federation.compression=top_k hides"),
    ],
)
def test_what_masks_or_shrinkage_forbid_is_one_line(values, said):
    data = {"data": {"root": ".", "sources": {}}}
    with pytest.raises(UserError, match=said) as error:
        read_stage(RunConfig, data | values)
    assert "\n" not in str(error.value)


def test_a_request_says_how_to_answer_and_another_way_is_another_answer(ask):
    assert json.loads(ask(TOP_K).model_dump_json())["messages"] == {"compression": "top_k", "top_k_share": 0.3}
    assert ask(TOP_K).digest != ask(INT8).digest
