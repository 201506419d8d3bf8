"""The server's apps: whatever one site sends, it is dropped by name and the round goes on with the others."""

import json

import numpy as np
import pytest
from conftest import toy_plan
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict
from homes import make_home, make_peers, network_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_runs import tiny_run_config

from cmrfed.apps.server.distributed import DistributedFederation
from cmrfed.apps.server.membership_audit import audit_membership
from cmrfed.apps.server.strategy import PrivateFederation, TooFewReplies, received
from cmrfed.apps.simulations.inprocess import InProcessGrid
from cmrfed.config import AdaptiveClipping
from cmrfed.core.packing import npy, pack, unpack_arrays
from cmrfed.door.answering import decoded
from cmrfed.federation import Arm, ArmPlan, GlobalState
from cmrfed.generators import build_generator
from cmrfed.provision import Register
from cmrfed.site.membership_audit import AttackSummary, MembershipSummary, pooled
from cmrfed.updates import load_weights, read_weights

ADAPTIVE = toy_plan(adaptive=AdaptiveClipping(), target_epsilon=1000.0, seed=None)
ALONE = {"maximum_epsilon": 1e6, "minimum_noise_multiplier": 0.1}


def make_arm(folder, generator, training, plan, sites):
    config = tiny_run_config(folder, federation={"rounds": 5})
    config = config.model_copy(update={"generator": generator, "training": training})
    weights = read_weights(build_generator(generator, seed=0))
    arm_plan = ArmPlan(run="r", name="private", config=config, plan=plan, sites=tuple(sites))
    return Arm.create(folder / "runs" / "arms" / "private", arm_plan, weights)


def last_round(arm):
    return json.loads((arm.folder / "rounds.jsonl").read_text().splitlines()[-1])["sites"]


class Tampering(InProcessGrid):
    """A network on which one node's replies to messages of one kind are changed on their way."""

    def __init__(self, whole, node, kind, change):
        super().__init__(whole.contexts, whole.tick)
        self.node, self.kind, self.change = node, kind, change

    def push_messages(self, messages):
        asked = list(messages)
        ids = list(super().push_messages(asked))
        for message, answer in zip(asked, ids, strict=True):
            if message.metadata.dst_node_id == self.node and message.metadata.message_type.endswith(self.kind):
                self._pending[answer] = self.change(self._pending[answer], message)
        return ids


def with_content(change):
    """`change` takes the reply's content and returns another."""
    return lambda reply, message: Message(RecordDict(change(reply.content)), reply_to=message)


def with_notes(**notes):
    def change(content):
        return {**content, "answer": ConfigRecord({**content["answer"], **notes})}

    return with_content(change)


def failing(reply, message):
    return Message(Error(2, "MemoryError: 43 patients"), reply_to=message)


def with_update(change):
    """`change` takes an array and returns another, for every weight."""

    def changed(content):
        update = unpack_arrays(content["update"]["packed"].data)
        return {**content, "update": packed({name: npy(change(decoded(data, name))) for name, data in update.items()})}

    return with_content(changed)


def packed(arrays):
    data = pack(arrays)
    return record_of(Array("uint8", (len(data),), "msgpack", data))


def record_of(array):
    return ArrayRecord({"packed": array})


LYING_ARRAY = Array("float32", (8,), "numpy.ndarray", b"\x93NUMPY\x01\x00garbage")

BAD_UPDATES = {
    "NaN": (with_update(lambda array: array * np.nan), "not finite"),
    "1e30": (with_update(lambda array: array * 0 + np.float32(1e30)), "moves a weight by 1e+30"),
    "float64": (with_update(lambda array: array.astype(np.float64)), "is not float32"),
    "an unknown name": (with_content(lambda c: {**c, "update": packed({"x": LYING_ARRAY.data})}), "trained weights"),
    "not packed": (with_content(lambda c: {**c, "update": ArrayRecord({"x": LYING_ARRAY})}), "trained weights"),
    "packed otherwise": (with_content(lambda c: {**c, "update": record_of(LYING_ARRAY)}), "trained weights"),
    "other values packed": (with_content(lambda c: {**c, "update": packed({"x": {"y": 1}})}), "trained weights"),
    "no arrays": (with_content(lambda c: {**c, "update": ConfigRecord({"x": 1})}), "trained weights"),
    "no update": (with_content(lambda c: {"answer": c["answer"]}), "trained weights"),
    "norm 0": (with_notes(max_grad_norm=0.0), "clipping norm is 0"),
    "norm NaN": (with_notes(max_grad_norm=float("nan")), "max_grad_norm is missing or not a finite number"),
    "a norm in words": (with_notes(max_grad_norm="small"), "max_grad_norm is missing or not a finite number"),
    "refusal": (with_notes(refused="43 patients"), "refused"),
    "an error": (failing, "failed: CLIENT_APP_RAISED_EXCEPTION"),
    "nothing": (with_content(lambda c: {}), "says no name"),
    "metrics": (with_content(lambda c: {"answer": MetricRecord({"site": 1})}), "says no name"),
    "another's name": (with_notes(site="west"), "another node's name"),
    "a number as a name": (with_notes(site=4), "says no name"),
    "a long name": (with_notes(site="x" * 10**7), "name that is not expected"),
}


@pytest.fixture
def federation(tmp_path, tiny_generator_config, fp32_training):
    homes = {name: make_home(tmp_path / name, name=name, **ALONE) for name in ("east", "west", "north")}
    arm = make_arm(tmp_path, tiny_generator_config, fp32_training, ADAPTIVE, homes)
    return PrivateFederation(arm), network_of(homes)


def play(strategy, network):
    messages = strategy.configure_train(1, ArrayRecord(), ConfigRecord(), network)
    strategy.aggregate_train(1, network.send_and_receive(messages))


@pytest.fixture
def answered(federation):
    """A strategy, the messages of its first round, and the honest replies to them."""
    strategy, network = federation
    messages = list(strategy.configure_train(1, ArrayRecord(), ConfigRecord(), network))
    return strategy, messages, list(network.send_and_receive(messages))


def test_one_bad_reply_is_dropped_by_name_and_the_others_update_the_model(answered):
    """Every kind in a round of its own, from the same start, against the honest replies of the same two sites."""
    strategy, messages, replies = answered
    start = strategy.state
    for kind, (change, said) in BAD_UPDATES.items():
        strategy.state = start
        strategy.aggregate_train(1, [change(replies[0], messages[0]), *replies[1:]])
        sites = last_round(strategy.arm)
        told = {site: notes["reason"] for site, notes in sites.items() if notes["reason"]}
        if kind == "another's name":  # two nodes call themselves west, and nobody knows which of them it is
            assert sorted(told) == ["node 2", "node 3"]
        else:
            assert list(told) in (["east"], ["node 2"]), kind
        assert all(said in reason and "43" not in reason and len(reason) < 400 for reason in told.values()), kind
        assert all(np.isfinite(array).all() for array in strategy.state.weights.values())
        assert any(not np.array_equal(array, start.weights[name]) for name, array in strategy.state.weights.items())
        assert 0.05 <= strategy.state.max_grad_norm <= 5


def test_a_note_that_nobody_asked_for_changes_nothing(answered):
    """Of the kinds that Flower itself cannot measure, too."""
    strategy, messages, replies = answered
    strategy.aggregate_train(1, [with_notes(x=True, y=[True, False])(replies[0], messages[0]), *replies[1:]])
    assert all(notes["reason"] is None for notes in last_round(strategy.arm).values())


def test_a_round_in_which_every_reply_is_bad_ends_the_run_with_the_reasons(answered):
    strategy, messages, replies = answered
    bad = [BAD_UPDATES["NaN"][0](reply, message) for reply, message in zip(replies, messages, strict=True)]
    with pytest.raises(TooFewReplies, match=r"got no update \(east: dropped: .* not finite; north: dropped"):
        strategy.aggregate_train(1, bad)
    assert strategy.state.round == 0


names = st.sampled_from(["answer", "update", "masked", "x"])
scalars = st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text(max_size=4) | st.binary(max_size=4) | st.booleans()
keys = st.sampled_from(["site", "refused", "json", "loss", "max_grad_norm", "y"])
encoded = st.builds(
    lambda shape, data, stype: Array("float32", tuple(shape), stype, data),
    st.lists(st.integers(0, 2**40), max_size=2),
    st.binary(max_size=80),
    st.sampled_from(["numpy.ndarray", "pickle", ""]),
)
records = (
    st.dictionaries(keys, scalars, max_size=3).map(ConfigRecord)
    | st.dictionaries(keys, st.integers(0, 9) | st.floats(), max_size=2).map(MetricRecord)
    | st.dictionaries(st.just("packed") | st.text(max_size=3), encoded, max_size=2).map(ArrayRecord)
)


@given(
    content=st.none() | st.dictionaries(names, records, max_size=3),
    site=st.sampled_from(["east", "west", "nobody", None]),
    error=st.none() | st.integers(-(2**31), 2**31),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_a_node_sends_the_round_ends_with_finite_weights(answered, content, site, error):
    strategy, messages, replies = answered
    initial, _ = load_weights(strategy.arm.folder / "initial.safetensors")
    strategy.state = GlobalState(0, initial, initial)
    if error is not None:
        sent = Message(Error(error, "text"), reply_to=messages[0])
    else:
        records = dict(replies[0].content) if content is None else content
        own = records.get("answer")
        if site and isinstance(own, ConfigRecord):
            records = {**records, "answer": ConfigRecord({**own, "site": site})}
        sent = Message(RecordDict(records), reply_to=messages[0])
    strategy.aggregate_train(1, [sent, *replies[1:]])
    sites = last_round(strategy.arm)
    assert sites["north"]["reason"] is None
    assert sites.keys() <= {"east", "west", "north", "node 2", "node 3"}
    assert all(np.isfinite(array).all() for array in strategy.state.weights.values())
    assert any(not np.array_equal(array, initial[name]) for name, array in strategy.state.weights.items())


def test_what_a_message_holds_is_looked_at_and_never_decoded(federation):
    strategy, network = federation
    (message, *_) = strategy.configure_train(1, ArrayRecord(), ConfigRecord(), network)
    content = {"answer": ConfigRecord({"site": "east"}), "update": packed({"x": LYING_ARRAY.data})}
    found = received(Message(RecordDict(content), reply_to=message), "update")
    assert (found.node, found.notes, found.arrays) == (2, {"site": "east"}, {"x": LYING_ARRAY.data})


NAMES = ["A", "B", "C", "D"]


@pytest.fixture
def together(tmp_path, tiny_generator_config, fp32_training):
    """Four sites that share noise, one of which may drop out in a round."""
    training = fp32_training.model_copy(update={"local_steps": 1})
    plan = toy_plan(seed=None, target_epsilon=1000.0, steps=50, sites=4, dropouts=1, colluders=1)
    homes = make_peers(tmp_path, NAMES, maximum_epsilon=1e6)
    arm = make_arm(tmp_path, tiny_generator_config, training, plan, NAMES)
    return DistributedFederation(arm), network_of(homes)


def with_vector(change):
    def changed(content):
        vector = decoded(unpack_arrays(content["masked"]["packed"].data)["masked"], "masked")
        return {**content, "masked": packed({"masked": npy(change(vector))})}

    return with_content(changed)


def with_json(change):
    """`change` takes the message as a dictionary and returns another."""

    def changed(content):
        said = json.dumps(change(json.loads(content["answer"]["json"])))
        return {**content, "answer": ConfigRecord({**content["answer"], "json": said})}

    return with_content(changed)


NONSENSE = with_notes(json='{"a": ' + "[" * 100_000)
BAD_PHASES = [
    ("offer", NONSENSE, "no valid Offer"),
    ("offer", with_json(lambda said: said | {"name": "B"}), "another site's name"),
    ("offer", with_json(lambda said: said | {"mask_key": "0" * 64}), "small order"),
    ("offer", with_notes(site="B"), "another node's name"),
    ("share", NONSENSE, "no valid Shares"),
    ("share", with_json(lambda said: {"shares": said["shares"][:1]}), "one share to each other site"),
    ("share", with_json(lambda said: {"shares": [{**one, "sender": "B"} for one in said["shares"]]}), "name"),
    ("mask", with_vector(lambda vector: vector[:-1]), "is not uint32"),
    ("mask", with_vector(lambda vector: vector.astype(np.float64)), "is not uint32"),
    ("mask", with_content(lambda content: {"answer": content["answer"]}), "no masked vector"),
    ("mask", failing, "failed: CLIENT_APP_RAISED_EXCEPTION"),
    ("confirm", NONSENSE, "no valid Confirmation"),
    ("confirm", with_json(lambda said: said | {"name": "B"}), "another site's name"),
    ("confirm", with_notes(site="nobody"), "name that is not expected"),
    ("reveal", NONSENSE, "no valid Revealed"),
    ("reveal", with_json(lambda said: said | {"seeds": {}}), "other shares than it was asked for"),
]


@pytest.mark.parametrize(("phase", "change", "said"), BAD_PHASES)
def test_of_distributed_noise_a_bad_reply_in_any_phase_drops_one_site_and_a_quorum_goes_on(
    together, phase, change, said
):
    strategy, honest = together
    start = strategy.state
    play(strategy, Tampering(honest, 2, phase, change))
    told = {site: notes["reason"] for site, notes in last_round(strategy.arm).items() if notes["reason"]}
    if phase == "offer" and "another node" in said:
        assert sorted(told) == ["node 2", "node 3", "the round"], "with two dropped there is no quorum"
        return
    assert list(told) in (["A"], ["node 2"])
    assert said in next(iter(told.values()))
    assert all(np.isfinite(array).all() for array in strategy.state.weights.values())
    assert any(not np.array_equal(array, start.weights[name]) for name, array in strategy.state.weights.items())


@pytest.mark.parametrize(
    ("phase", "change", "said"),
    [
        ("mask", with_vector(lambda vector: vector + np.uint32(2**30)), "one of them did not keep to the plan"),
        ("mask", with_vector(lambda vector: vector[::-1].copy()), "one of them did not keep to the plan"),
        ("reveal", with_json(lambda said: said | {"seeds": dict.fromkeys(said["seeds"], "0" * 64)}), "seed"),
    ],
)
def test_a_lie_that_the_masks_hide_costs_the_round_and_nothing_of_the_model(together, phase, change, said):
    strategy, honest = together
    start = strategy.state
    play(strategy, Tampering(honest, 2, phase, change))
    assert said in last_round(strategy.arm)["the round"]["reason"]
    assert all(np.array_equal(array, start.weights[name]) for name, array in strategy.state.weights.items())
    play(strategy, honest)
    assert all(notes["reason"] is None for notes in last_round(strategy.arm).values())


ROW = {
    "auc": 0.6, "auc_ci95": (0.5, 0.7), "tpr_at_1pct_fpr": 0.1, "tpr_at_1pct_fpr_ci95": (0.0, 0.2), "members": 20,
    "non_members": 10, "blind_auc": 0.5, "beats_blind": False, "epsilon_lower": 0.2, "epsilon_lower_possible": 2.0,
}  # fmt: skip


@pytest.fixture
def audited(tmp_path, tiny_generator_config, fp32_training, monkeypatch):
    """Three sites that answer an audit with the same row, without having to train."""
    homes = {name: make_home(tmp_path / name, name=name) for name in ("east", "west", "north")}
    arm = make_arm(tmp_path, tiny_generator_config, fp32_training, ADAPTIVE, homes)
    monkeypatch.setattr(
        "cmrfed.door.answering.answer_membership_audit",
        lambda *_: MembershipSummary(attacks={"loss": AttackSummary(**ROW)}),
    )
    return arm, network_of(homes)


def found_in(arm):
    return json.loads((arm.folder / "membership_audit.json").read_text())


def changed_row(**values):
    return with_json(lambda said: {"attacks": {"loss": said["attacks"]["loss"] | values}})


@pytest.mark.parametrize(
    "change",
    [
        NONSENSE,
        changed_row(auc=float("nan")),
        changed_row(auc=1.5),
        changed_row(members=0),
        changed_row(members=10**400),
        changed_row(non_members=-3),
        changed_row(auc_ci95=[0.1, float("inf")]),
        changed_row(epsilon_lower=1e308),
        changed_row(patients=["Ada"]),
        with_json(lambda said: {"attacks": {"x" * 10**5: said["attacks"]["loss"]}}),
        with_notes(refused="because of 43 patients"),
        with_notes(site="nobody"),
        failing,
    ],
)
def test_a_summary_that_is_none_is_left_out_of_the_audit(audited, change):
    arm, honest = audited
    audit_membership(arm, Tampering(honest, 2, "membership_audit", change), Register())
    found = found_in(arm)
    assert list(found["sites"]) == ["north", "west"]
    assert list(found["not_answered"]) in (["east"], ["node 2"])
    assert found["attacks"]["loss"]["members"] == 40 and found["attacks"]["loss"]["auc"] == pytest.approx(0.6)
    assert "43" not in json.dumps(found["not_answered"])


numbers = st.integers() | st.floats() | st.none() | st.booleans() | st.lists(st.floats(), max_size=3)


@given(st.dictionaries(st.sampled_from([*ROW, "x"]), numbers), st.sampled_from(["loss", "sima", "x"]))
def test_whatever_a_summary_holds_what_is_pooled_is_finite(values, name):
    try:
        odd = MembershipSummary.model_validate_json(json.dumps({"attacks": {name: {**ROW, **values}}}))
    except ValueError:
        return
    rows = pooled({"odd": odd, "even": MembershipSummary(attacks={"loss": AttackSummary(**ROW)})})
    assert json.dumps(rows, allow_nan=False)
