"""Whatever happens at a site, a server is told one constant; the reason stays with the hospital."""

import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
from conftest import toy_plan, toy_slices
from flwr.app import ConfigRecord, Context, Message, RecordDict, UserConfig
from flwr.supercore.task_identity import TaskIdentity
from homes import context_of, make_home
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cmrfed.apps.client.app import QUERIES, app
from cmrfed.apps.server.strategy import to_record
from cmrfed.door import REFUSED
from cmrfed.door.answering import ACTIONS
from cmrfed.generators import build_generator
from cmrfed.site import Home, Request, local
from cmrfed.training import LocalTask
from cmrfed.updates import read_weights

SECURE = {"seed": None, "target_epsilon": 1000.0}


@pytest.fixture
def home(tmp_path):
    return make_home(tmp_path / "home")


@pytest.fixture
def weights(tiny_generator_config):
    return read_weights(build_generator(tiny_generator_config, seed=0))


@pytest.fixture
def asked(tiny_generator_config, fp32_training):
    def make(plan=None, **task):
        values = {"training": fp32_training, "plan": plan or toy_plan(**SECURE), "round": 1, "rounds": 3} | task
        return Request(run="run", generator=tiny_generator_config, task=LocalTask(**values)).model_dump_json()

    return make


def send(home, text, weights, kind="train"):
    """What comes back of a message, as Flower would carry it."""
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1
    record = {
        "request": ConfigRecord({"json": text}),
        "weights": to_record(weights),
    }
    message = Message(RecordDict(record), 2, kind)
    return app(message, context_of(home, 2))


def told(reply):
    """All of a refusal's content."""
    assert not reply.has_error(), "Flower would send an error's own words"
    assert list(reply.content) == ["answer"]
    return dict(reply.content["answer"])


NAMELESS = {"refused": REFUSED}
CONSTANT = NAMELESS | {"site": "here"}


def test_an_answer_carries_update_name_and_ledger_head_and_nothing_else(home, weights, asked):
    reply = send(home, asked(), weights)
    assert set(reply.content) == {"answer", "update"}
    assert dict(reply.content["answer"]) == {"site": "here", "ledger_head": home.ledger.head()}
    assert len(home.ledger.rows()) == 1


def test_a_head_cannot_be_computed_by_whoever_knows_everything_but_the_sites_secret(home, weights, asked):
    """Or a guess of the patients could be checked against it: each row's receipt is of 256 bits that never leave."""
    heads = set()
    for folder in ("one", "two"):
        twin = make_home(home.folder.parent / folder)
        send(twin, asked(), weights)
        row = twin.ledger.rows()[0]
        heads.add((row.request, row.fingerprint))
    assert len({request for request, _ in heads}) == 2
    assert len({fingerprint for _, fingerprint in heads}) == 1


@pytest.mark.parametrize(
    "plan",
    [
        {"delta": 0.1},
        {"noise_multiplier": 0.01},
        {"target_epsilon": 1e-6},
        {"seed": 5, "target_epsilon": 1000.0},
    ],
)
def test_every_refusal_is_the_same_constant_and_its_reason_is_in_the_local_log(home, weights, asked, plan):
    assert told(send(home, asked(toy_plan(**(SECURE | plan))), weights)) == CONSTANT
    (line,) = (home.folder / "refusals.jsonl").read_text().splitlines()
    assert "epsilon" in json.loads(line)["reason"] or "site policy" in json.loads(line)["reason"]
    assert home.ledger.rows() == []


@pytest.mark.parametrize("error", [MemoryError("3 x 102.4 MB"), RuntimeError("7 patients"), KeyError("Jane Doe")])
def test_no_word_of_an_error_after_sampling_leaves_and_it_was_paid_for(home, weights, asked, error, monkeypatch):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(local, "train", fail)
    assert told(send(home, asked(), weights)) == CONSTANT
    assert len(home.ledger.rows()) == 1
    assert str(error.args[0]) in (home.folder / "refusals.jsonl").read_text()


def test_a_home_that_cannot_be_opened_answers_with_the_same_constant(home, weights, asked):
    (home.folder / "site.yaml").write_text("name: [")
    assert told(send(home, asked(), weights)) == NAMELESS
    (home.folder / "site.yaml").unlink()
    assert told(send(home, asked(), weights)) == NAMELESS


def test_missing_or_damaged_slices_are_answered_with_the_same_constant(home, weights, asked):
    (home.folder / "slices.safetensors").write_bytes(b"x" * 100)
    assert told(send(home, asked(), weights)) == CONSTANT


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.text(max_size=200) | JSON.map(json.dumps),
    kind=st.sampled_from(["train", "query.offer", "query.membership_audit", "query.mask"]),
)
def test_whatever_a_server_sends_comes_back_as_the_constant(home, weights, text, kind):
    assert told(send(home, text, {}, kind)) == CONSTANT
    assert home.ledger.rows() == []


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.integers(0, 60), value=JSON)
def test_a_request_with_any_value_replaced_is_answered_or_gets_the_constant(home, weights, asked, path, value):
    """And in neither case an error of Flower's, which would carry its text."""
    request = json.loads(asked())
    where = list(leaves(request))[path % len(list(leaves(request)))]
    node = request
    for key in where[:-1]:
        node = node[key]
    node[where[-1]] = value
    reply = send(home, json.dumps(request), weights)
    assert not reply.has_error()
    assert "update" in reply.content or told(reply) == CONSTANT


def leaves(node, path=()):
    pairs = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in pairs:
        yield from leaves(value, (*path, key)) if isinstance(value, dict | list) and value else [(*path, key)]


@pytest.mark.parametrize("patients", [1, 4, 40])
def test_a_refusal_has_the_same_bytes_whatever_the_patients(tmp_path, weights, asked, patients):
    one = make_home(tmp_path / f"{patients}")
    toy_slices([1] * patients).save(one.folder / "slices.safetensors")
    content = send(one, asked(toy_plan(**(SECURE | {"delta": 0.1}))), weights).content
    assert pickle.dumps(dict(content["answer"])) == pickle.dumps(CONSTANT)


def test_weights_of_another_network_cost_nothing(home, weights, asked):
    assert told(send(home, asked(), {name: a[:1] for name, a in weights.items()})) == CONSTANT
    assert told(send(home, asked(), {name: a * np.nan for name, a in weights.items()})) == CONSTANT
    assert home.ledger.rows() == []
    assert Home(home.folder).policy.name == "here"


def test_a_node_that_is_told_of_a_home_and_no_door_opens_nothing(home, weights, asked):
    """A SuperNode's configuration names the socket of `cmrfed site serve`, and no folder."""
    record = {
        "request": ConfigRecord({"json": asked()}),
        "weights": to_record(weights),
    }
    for told_of in ({"home": str(home.folder)}, {}):
        context = Context(1, 2, UserConfig(told_of), RecordDict(), UserConfig({"home": str(home.folder)}))
        assert told(app(Message(RecordDict(record), 2, "train"), context)) == NAMELESS
    assert not (home.folder / "plans").exists()


def test_the_relay_carries_all_that_may_be_asked_and_nothing_else():
    assert {"train", *QUERIES} == set(ACTIONS)


def test_the_relay_needs_neither_torch_nor_a_site():
    code = "import sys, cmrfed.apps.client.node; print({'torch', 'cmrfed.site'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
