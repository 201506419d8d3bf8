"""A reply is used whole or not at all: what no honest site sends drops the site, by name, and raises nothing."""

import io
import math

import numpy as np
import pytest
from conftest import toy_plan, toy_slices
from hypothesis import given, settings
from hypothesis import strategies as st
from refusals import refuses

from cmrfed.config import AdaptiveClipping
from cmrfed.generators import build_generator
from cmrfed.privacy import NoPrivacy
from cmrfed.privacy.secure_aggregation import Offer, Session
from cmrfed.replies import (
    Attendance,
    InvalidReply,
    Reply,
    Terms,
    array_of,
    masked_vector,
    message_of,
    size,
    trained_shapes,
)
from cmrfed.site import Request
from cmrfed.site.distributed import Shares
from cmrfed.training import LocalTask, train
from cmrfed.updates import read_weights

ADAPTIVE = toy_plan(adaptive=AdaptiveClipping(range=4.0))


def npy(array):
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()


class Asked:
    """A request, and an honest site's answer to it."""

    def __init__(self, generator, training, plan):
        task = LocalTask(training=training, plan=plan, round=1, rounds=4)
        self.weights = read_weights(build_generator(generator, seed=0))
        self.terms = Terms(Request(run="run", generator=generator, task=task), self.weights)
        self.run = train(build_generator(generator, seed=0), toy_slices([2, 3, 2, 2]), task)
        told = {"loss": self.run.loss, "max_grad_norm": self.run.max_grad_norm}
        self.notes = {"site": "A"} | {name: value for name, value in told.items() if value is not None}

    def reply(self, site="A", node=1, notes=(), **arrays):
        update = {name: npy(array) for name, array in self.run.update.items()} | arrays
        kept = {name: encoded for name, encoded in update.items() if encoded is not None}
        return Reply(node, None, self.notes | {"site": site} | dict(notes), kept)

    def heard(self, *replies):
        attendance = Attendance("AB")
        return attendance.heard(replies, self.terms.update), attendance.reasons


@pytest.fixture(scope="module")
def make_asked():
    """One answer a plan, made once."""
    made = {}

    def make(generator, training, plan=ADAPTIVE):
        key = str(plan)
        if key not in made:
            made[key] = Asked(generator, training, plan)
        return made[key]

    return make


@pytest.fixture
def asked(make_asked, tiny_generator_config, fp32_training):
    return make_asked(tiny_generator_config, fp32_training)


FIRST = "network.unet.conv_in.conv.bias"


def changed(array, index, value):
    changed = array.copy()
    changed.flat[index] = value
    return changed


@pytest.mark.parametrize("plan", [NoPrivacy(), toy_plan(), ADAPTIVE], ids=["none", "fixed", "adaptive"])
def test_an_honest_reply_is_used_as_it_is(plan, make_asked, tiny_generator_config, fp32_training):
    asked = make_asked(tiny_generator_config, fp32_training, plan)
    found, reasons = asked.heard(asked.reply())
    assert reasons == {}
    assert found["A"].update.keys() == asked.run.update.keys()
    assert all(np.array_equal(found["A"].update[name], array) for name, array in asked.run.update.items())
    assert (found["A"].loss, found["A"].max_grad_norm) == (asked.run.loss, asked.run.max_grad_norm)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda bias: {FIRST: npy(changed(bias, 0, math.nan))}, "not finite"),
        (lambda bias: {FIRST: npy(changed(bias, 0, -math.inf))}, "not finite"),
        (lambda bias: {FIRST: npy(changed(bias, 0, 1e30))}, "moves a weight by 1e+30"),
        (lambda bias: {FIRST: npy(bias + 40)}, "2 steps at learning rate 0.1 reach"),
        (lambda bias: {FIRST: npy(bias.astype(np.float64))}, f"{FIRST} is not float32 of shape (8,)"),
        (lambda bias: {FIRST: npy(bias[:-1])}, "is not float32 of shape (8,)"),
        (lambda bias: {FIRST: npy(bias[None])}, "is not float32 of shape (8,)"),
        (lambda bias: {FIRST: npy(bias) + b"\0"}, "is not float32 of shape (8,)"),
        (lambda bias: {FIRST: b"\x80\x04K\x01."}, "is not float32 of shape (8,)"),
        (lambda bias: {FIRST: None}, "of the"),
        (lambda bias: {"nonsense": npy(bias)}, "trained weights"),
        (lambda bias: {"notes": {"max_grad_norm": 0.0}}, "its clipping norm is 0"),
        (lambda bias: {"notes": {"max_grad_norm": math.nan}}, "max_grad_norm is missing or not a finite number"),
        (lambda bias: {"notes": {"max_grad_norm": "0.5"}}, "max_grad_norm is missing or not a finite number"),
        (lambda bias: {"notes": {"max_grad_norm": 100.0}}, "its clipping norm is 100"),
        (lambda bias: {"notes": {"refused": "anything " * 10**6}}, "refused"),
    ],
)
def test_what_no_honest_site_sends_drops_it_and_the_others_go_on(asked, change, said):
    found, reasons = asked.heard(asked.reply(**change(asked.run.update[FIRST])), asked.reply("B", node=2))
    assert list(found) == ["B"]
    assert list(reasons) == ["A"] and said in reasons["A"]
    assert len(reasons["A"]) < 400 and "\n" not in reasons["A"]


@pytest.mark.parametrize("name", [None, 7, 0.5, b"A", "", "C", "A\n", "a", "x" * 10**7, "[/bold]", ["A"]])
def test_a_name_that_is_none_of_those_expected_is_not_repeated(asked, name):
    found, reasons = asked.heard(asked.reply(name, node=77), asked.reply("B", node=2))
    assert list(found) == ["B"]
    assert list(reasons) == ["node 77"]
    assert reasons["node 77"].startswith(
        ("dropped: calls itself by a name that is not", "dropped: its reply says no name")
    )


def test_a_name_that_two_nodes_use_is_neithers(asked):
    found, reasons = asked.heard(asked.reply("A", 1), asked.reply("A", 2), asked.reply("B", 3))
    assert list(found) == ["B"]
    assert list(reasons) == ["node 1", "node 2"]
    assert "calls itself A, which is another node's name" in reasons["node 1"]


def test_a_node_keeps_its_name_through_a_round_and_no_other_takes_it(asked):
    attendance = Attendance("AB")
    attendance.heard([asked.reply("A", 1)], asked.terms.update)
    found = attendance.heard([asked.reply("A", 2), asked.reply("A", 1)], asked.terms.update)
    assert list(found) == ["A"] and list(attendance.reasons) == ["node 2"]
    assert attendance.heard([asked.reply("B", 1)], asked.terms.update) == {}
    assert "calls itself B" in attendance.reasons["A"], "the offender by the name it had"


def test_where_keys_are_registered_a_node_is_the_site_whose_key_it_has_and_can_claim_no_other(asked):
    attendance = Attendance("AB", registered={1: "A", 2: "B"})
    found = attendance.heard([asked.reply("B", 1), asked.reply("B", 2), asked.reply("A", 3)], asked.terms.update)
    assert list(found) == ["B"], "who is called so by somebody else keeps its own name"
    assert attendance.reasons == {
        "A": "dropped: calls itself B, and its key is registered as that of A",
        "node 3": "dropped: calls itself A, and its key is registered as that of nobody",
    }
    assert attendance.heard([Reply(1, failure="NODE_UNAVAILABLE")], asked.terms.update) == {}
    assert attendance.reasons["A"] == "failed: NODE_UNAVAILABLE", "known though it never said a name"


def test_a_failure_is_told_by_the_name_that_is_known(asked):
    attendance = Attendance("AB")
    attendance.heard([asked.reply("A", 1)], asked.terms.update)
    attendance.heard([Reply(1, failure="NODE_UNAVAILABLE"), Reply(2, failure="UNKNOWN")], asked.terms.update)
    assert attendance.reasons == {"A": "failed: NODE_UNAVAILABLE", "node 2": "failed: UNKNOWN"}


def test_a_refusal_is_told_by_its_name_or_where_it_has_none_by_the_node(asked):
    declining = [Reply(1, notes={"refused": "no", "site": "A"}), Reply(2, notes={"refused": "no"})]
    assert asked.heard(*declining) == ({}, {"A": "refused", "node 2": "refused"})


def test_without_adaptive_clipping_a_norm_is_not_read_nor_a_loss_with_privacy(
    make_asked, tiny_generator_config, fp32_training
):
    asked = make_asked(tiny_generator_config, fp32_training, toy_plan())
    found, _ = asked.heard(asked.reply(notes={"max_grad_norm": 1e9, "loss": math.nan}))
    assert found["A"].max_grad_norm is None and found["A"].loss is None


def test_without_privacy_a_loss_that_is_not_finite_drops_the_site(make_asked, tiny_generator_config, fp32_training):
    asked = make_asked(tiny_generator_config, fp32_training, NoPrivacy())
    _, reasons = asked.heard(asked.reply(notes={"loss": math.nan}))
    assert "loss is missing or not a finite number" in reasons["A"]


anything = st.none() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=5) | st.lists(st.floats())
some_arrays = st.sampled_from(["float32", "float64", "uint32", "int8", "complex64"]).flatmap(
    lambda dtype: st.lists(st.integers(0, 3), max_size=3).map(lambda shape: npy(np.ones(shape, dtype)))
)


@given(
    notes=st.dictionaries(st.sampled_from(["site", "refused", "loss", "max_grad_norm", "json", "x"]), anything),
    entry=st.floats(width=32),
    index=st.integers(0, 7),
    arrays=st.dictionaries(st.sampled_from([FIRST, "x"]), st.none() | st.binary(max_size=200) | some_arrays),
    failure=st.none() | st.text(max_size=5),
)
@settings(deadline=None, max_examples=200)
def test_whatever_a_site_sends_is_a_finite_update_or_a_reason(make_asked_once, notes, entry, index, arrays, failure):
    asked = make_asked_once
    bias = npy(changed(asked.run.update[FIRST], index, entry))
    sent = asked.reply(**({FIRST: bias} | arrays))
    reply = Reply(1, failure, {**sent.notes, **notes}, sent.arrays)
    found, reasons = asked.heard(reply, asked.reply("B", node=2))
    assert ("A" in found) != bool(reasons) or notes.get("site") == "B"
    for one in found.values():
        assert asked.terms._reach.holds(*size(one.update))
        assert 0.125 / 4 <= one.max_grad_norm <= 2.0 * 4


@pytest.fixture(scope="module")
def make_asked_once(make_asked):
    from cmrfed.config import GeneratorConfig, TrainingConfig

    training = TrainingConfig(local_steps=2, optimizer="sgd", learning_rate=0.1, slices_per_patient=2, precision="fp32")
    generator = GeneratorConfig(channels=(8, 8), norm_groups=4, condition_dropout=0.2, trainable="all")
    return make_asked(generator, training)


def test_a_header_that_claims_a_terabyte_allocates_nothing():
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": (10**12,)})
    with refuses("the vector is not float32 of shape (3,)"):
        array_of(stream.getvalue() + bytes(12), "float32", (3,), "the vector")


@given(
    st.sampled_from(["float32", "uint32"]),
    st.lists(st.integers(0, 3), min_size=0, max_size=4).map(tuple),
)
def test_what_numpy_writes_is_read_back(dtype, shape):
    array = np.random.default_rng(0).integers(0, 100, shape).astype(dtype)
    assert np.array_equal(array_of(npy(array), dtype, shape, "it"), array)


deep = "[" * 100_000 + "]" * 100_000


@pytest.mark.parametrize(
    "text", [None, 3, "", "{}", "nul", '{"shares": 3}', '{"shares": ' + deep + "}", " " * 2**21, "\ud800"]
)
def test_a_message_is_of_its_kind_and_of_bounded_length(text):
    with pytest.raises(InvalidReply, match="Shares"):
        message_of(Shares, Reply(1, None, {"site": "A", "json": text}))


@given(st.text(max_size=300) | st.dictionaries(st.text(), anything).map(str))
def test_no_text_is_too_strange_to_be_turned_away(text):
    for stage in (Shares, Offer, Session):
        with pytest.raises(InvalidReply):
            message_of(stage, Reply(1, None, {"json": text}))


@pytest.mark.parametrize("adaptive", [None, AdaptiveClipping()])
def test_a_masked_vector_has_an_entry_a_weight_and_one_for_the_norm_that_moves(
    adaptive, tiny_generator_config, fp32_training
):
    task = LocalTask(training=fp32_training, plan=toy_plan(adaptive=adaptive), round=1, rounds=1)
    request = Request(run="run", generator=tiny_generator_config, task=task)
    length = sum(math.prod(shape) for shape in trained_shapes(request).values()) + bool(adaptive)
    whole = np.arange(length, dtype=np.uint32)
    assert np.array_equal(masked_vector(request, Reply(1, None, {}, {"masked": npy(whole)})), whole)
    for wrong in (whole[:-1], whole.astype(np.int64), whole[None], whole.astype(np.int32)):
        with pytest.raises(InvalidReply, match="uint32"):
            masked_vector(request, Reply(1, None, {}, {"masked": npy(wrong)}))
    with pytest.raises(InvalidReply, match="no masked vector"):
        masked_vector(request, Reply(1))
