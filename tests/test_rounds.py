"""Rounds over a network: enough replies or none is applied, nothing that was paid for is asked for twice, a server that
dies goes on as if it had not, and little travels."""

import json
import shutil
import time

import numpy as np
import pytest
from conftest import toy_plan
from flwr.app import ArrayRecord, ConfigRecord, Error, Message
from homes import make_home, make_peers, network_of
from tiny_runs import tiny_run_config

from cmrfed.apps.server import strategy as server
from cmrfed.apps.server.app import app as server_app
from cmrfed.apps.server.distributed import DistributedFederation
from cmrfed.apps.server.strategy import PrivateFederation, TooFewReplies
from cmrfed.apps.simulations.inprocess import InProcessGrid
from cmrfed.config import UserError
from cmrfed.federation import Arm, ArmPlan, load_state
from cmrfed.generators import build_generator
from cmrfed.provision import Register
from cmrfed.site import Home
from cmrfed.updates import read_weights, save_weights

NAMES = ("east", "north", "west")
SEEDED = toy_plan(seed=3, target_epsilon=1000.0, steps=12)
SECRET = toy_plan(seed=None, target_epsilon=1000.0, steps=12)


@pytest.fixture
def federate(tmp_path, tiny_generator_config, fp32_training, monkeypatch):
    """Makes an arm and its sites' homes in a folder of that name; the server looks for missing sites all the time."""
    monkeypatch.setattr(server, "_POLL_S", 0.01)

    def make(name, plan=SECRET, aggregation=None, generator=tiny_generator_config, **federation):
        federation = {"rounds": 6, "round_timeout_s": 0.2} | federation
        config = tiny_run_config(tmp_path, federation=federation, aggregation=aggregation or {})
        config = config.model_copy(update={"generator": generator, "training": fp32_training})
        weights = read_weights(build_generator(generator, seed=0))
        folder = tmp_path / name
        Arm.create(folder / "arm", ArmPlan(run="r", name="private", config=config, plan=plan, sites=NAMES), weights)
        allowed = {"maximum_epsilon": 1e6, "allow_seeded_noise": True}
        homes = {site: make_home(folder / site, name=site, **allowed) for site in NAMES}
        return folder / "arm", homes

    return make


def registered(folder, homes):
    """The coordinator's register, with the numbers that `network_of` gives the sites' nodes."""
    register = Register(folder)
    register.set_nodes(dict(enumerate(homes, start=2)))
    return register


def sharing(folder, generator, training, **plan):
    """The strategy of three sites that share their noise, and their homes."""
    names = ["A", "B", "C"]
    homes = make_peers(folder, names, maximum_epsilon=1e6)
    few = generator.model_copy(update={"trainable": "modulation"})
    config = tiny_run_config(folder, federation={"rounds": 5})
    config = config.model_copy(update={"generator": few, "training": training.model_copy(update={"local_steps": 1})})
    arm = ArmPlan(
        run="r",
        name="private",
        config=config,
        plan=toy_plan(seed=None, target_epsilon=1000.0, steps=50, sites=3, **plan),
        sites=tuple(names),
    )
    weights = read_weights(build_generator(few, seed=0))
    return DistributedFederation(Arm.create(folder / "runs" / "arms" / "private", arm, weights)), homes


class Moody(InProcessGrid):
    """A network on which sites come and go: of each look at who is there, `away` names the nodes that are not."""

    def __init__(self, whole, away):
        super().__init__(whole.contexts, whole.tick)
        self.away, self.asked = iter(away), []

    def get_node_ids(self):
        away = next(self.away, ())
        return [node for node in self.contexts if node not in away]

    def push_messages(self, messages):
        asked = list(messages)
        self.asked.append([message.metadata.dst_node_id for message in asked])
        return super().push_messages(asked)


def play(strategy, network, rounds=1):
    for _ in range(rounds):
        messages = strategy.configure_train(1, ArrayRecord(), ConfigRecord(), network)
        strategy.aggregate_train(1, network.send_and_receive(messages))


def lines(arm):
    return [json.loads(line) for line in (arm / "rounds.jsonl").read_text().splitlines()]


def releases(home):
    return [row.round for row in home.ledger.rows()]


def same(one, other):
    return all(np.array_equal(one[name], other[name]) for name in one)


def test_a_round_waits_for_as_many_as_it_needs_and_asks_only_those_who_have_not_answered(federate):
    arm, homes = federate("run", minimum_replies=3, round_timeout_s=60)
    network = Moody(network_of(homes), away=[(3, 4), (3, 4), (4,), ()])
    play(PrivateFederation(Arm.open(arm)), network)
    assert network.asked == [[2], [3], [4]]
    assert [list(line["sites"]) for line in lines(arm)] == [list(NAMES)]
    assert all(releases(home) == [1] for home in homes.values())


def test_a_round_that_stays_short_is_kept_noted_and_gone_on_with_and_nobody_pays_twice(federate):
    arm, homes = federate("run", minimum_replies=3)
    before = Arm.open(arm).state().weights
    for _ in range(2):  # the second time the server was started anew
        with pytest.raises(TooFewReplies, match=r"round 1 got 2 of the 3 updates it needs \(no other site replied"):
            play(PrivateFederation(Arm.open(arm)), Moody(network_of(homes), away=[(4,)] * 10_000))
    assert [(line["round"], line["applied"]) for line in lines(arm)] == [(1, False), (1, False)]
    assert list(lines(arm)[0]["sites"]) == ["east", "north"] and same(Arm.open(arm).state().weights, before)
    late = Moody(network_of(homes), away=[(2, 3)])  # those who had answered are away, and their answers are here
    play(PrivateFederation(Arm.open(arm)), late)
    assert (lines(arm)[-1]["round"], lines(arm)[-1]["applied"]) == (1, True)
    assert {site: notes["reason"] for site, notes in lines(arm)[-1]["sites"].items()} == dict.fromkeys(NAMES)
    assert all(releases(home) == [1] for home in homes.values())
    assert not (arm / "open_round.safetensors").exists()


def test_answers_that_were_kept_are_those_that_a_round_without_trouble_has(federate):
    """Seeded, so that two federations can be compared: one short of a site at first, one whole."""
    whole, homes = federate("whole", plan=SEEDED)
    play(PrivateFederation(Arm.open(whole)), network_of(homes))
    short, homes = federate("short", plan=SEEDED, minimum_replies=3)
    with pytest.raises(TooFewReplies):
        play(PrivateFederation(Arm.open(short)), Moody(network_of(homes), away=[(3,)] * 10_000))
    play(PrivateFederation(Arm.open(short)), Moody(network_of(homes), away=[(2, 4)]))
    assert same(Arm.open(short).state().weights, Arm.open(whole).state().weights)


def test_kept_answers_to_another_request_are_never_joined(federate):
    arm, homes = federate("run", minimum_replies=3)
    with pytest.raises(TooFewReplies):
        play(PrivateFederation(Arm.open(arm)), Moody(network_of(homes), away=[(4,)] * 10_000))
    opened = Arm.open(arm)
    state = opened.state()
    assert sorted(opened.answers_kept(state)) == ["east", "north"]
    state.weights["network.unet.conv_in.conv.bias"][0] += 1
    assert Arm.open(arm).answers_kept(type(state)(0, state.weights, state.averaged)) == {}


def test_a_site_that_is_away_for_two_rounds_comes_back_and_each_pays_for_what_it_answered(federate):
    arm, homes = federate("run", minimum_replies=2)
    network = Moody(network_of(homes), away=[(), (4,), (4,)])
    play(PrivateFederation(Arm.open(arm)), network, rounds=4)
    assert [sorted(line["sites"]) for line in lines(arm)] == [
        sorted(NAMES), ["east", "north"], ["east", "north"], sorted(NAMES)
    ]  # fmt: skip
    assert [releases(homes[name]) for name in NAMES] == [[1, 2, 3, 4], [1, 2, 3, 4], [1, 4]]


def test_a_site_whose_ledger_and_home_were_restored_from_a_backup_is_noticed_and_takes_no_part(federate, tmp_path):
    arm, homes = federate("run", minimum_replies=2)
    register = registered(tmp_path, homes)
    play(PrivateFederation(Arm.open(arm), register), network_of(homes))
    west = homes["west"].folder
    backup = shutil.copytree(west, tmp_path / "backup")
    play(PrivateFederation(Arm.open(arm), register), network_of(homes))
    latest = shutil.move(west, tmp_path / "latest")
    shutil.copytree(backup, west)
    play(PrivateFederation(Arm.open(arm), register), network_of(homes))
    assert lines(arm)[-1]["sites"]["west"]["reason"] == "refused"
    assert releases(Home(west)) == [1], "nothing was computed"
    assert "an older copy or another ledger" in (west / "refusals.jsonl").read_text()
    shutil.rmtree(west)
    shutil.move(latest, west)
    play(PrivateFederation(Arm.open(arm), register), network_of(homes))
    assert lines(arm)[-1]["sites"]["west"]["reason"] is None
    assert [releases(homes[name]) for name in NAMES] == [[1, 2, 3, 4], [1, 2, 3, 4], [1, 2, 4]]


def test_a_copy_of_a_home_that_answers_in_its_place_is_noticed_once_the_home_has_paid_for_more(federate, tmp_path):
    arm, homes = federate("run", minimum_replies=2)
    register = registered(tmp_path, homes)
    play(PrivateFederation(Arm.open(arm), register), network_of(homes))
    copied = Home(shutil.copytree(homes["west"].folder, tmp_path / "elsewhere" / "west"))
    play(PrivateFederation(Arm.open(arm), register), network_of(homes))
    play(PrivateFederation(Arm.open(arm), register), network_of({**homes, "west": copied}))
    assert lines(arm)[-1]["sites"]["west"]["reason"] == "refused" and releases(copied) == [1]


def test_where_keys_are_registered_no_node_of_another_site_is_asked_and_a_name_is_its_keys_alone(federate, tmp_path):
    arm, homes = federate("run", minimum_replies=1)
    register = registered(tmp_path, homes)
    register.set_nodes({2: "east", 3: "south", 4: "north"})  # 3 is of no site of this run; 4 will call itself west
    network = Moody(network_of(homes), away=())
    play(PrivateFederation(Arm.open(arm), register), network)
    assert network.asked == [[2, 4]]
    told = {site: notes["reason"] for site, notes in lines(arm)[-1]["sites"].items()}
    assert told == {"east": None, "north": "dropped: calls itself west, and its key is registered as that of north"}


def test_a_restored_ledger_is_noticed_before_a_shared_step_too(tmp_path, tiny_generator_config, fp32_training):
    strategy, homes = sharing(tmp_path, tiny_generator_config, fp32_training, dropouts=1)
    strategy.register = registered(tmp_path, homes)
    play(strategy, network_of(homes))
    backup = shutil.copytree(homes["C"].folder, tmp_path / "backup")
    play(strategy, network_of(homes))
    shutil.rmtree(homes["C"].folder)
    shutil.copytree(backup, homes["C"].folder)
    play(strategy, network_of(homes))
    assert lines(strategy.arm.folder)[-1]["sites"]["C"]["reason"] == "refused"
    assert releases(homes["C"]) == [1] and releases(homes["A"]) == [1, 2, 3]


def test_a_late_answer_that_was_lost_on_its_way_is_the_same_when_it_is_asked_for_again(federate):
    class Slow(InProcessGrid):
        """Node 4 works, and its first answer comes after the server has gone."""

        lost = None

        def pull_messages(self, ids):
            replies = super().pull_messages(ids)
            for number, reply in enumerate(replies):
                if reply.metadata.src_node_id == 4 and self.lost is None:
                    self.lost, replies[number] = reply, Message(Error(5, "gone"), reply_to=reply)
            return replies

    arm, homes = federate("run", minimum_replies=3, round_timeout_s=30)
    whole = network_of(homes)
    network = Slow(whole.contexts, whole.tick)
    strategy = PrivateFederation(Arm.open(arm))
    messages = strategy.configure_train(1, ArrayRecord(), ConfigRecord(), network)
    strategy.aggregate_train(1, network.send_and_receive(messages))
    assert lines(arm)[-1]["applied"] and releases(homes["west"]) == [1]


def test_a_round_that_sites_turn_down_ends_at_once_however_long_it_may_last(federate):
    arm, homes = federate("run", minimum_replies=3, round_timeout_s=60)
    began = time.monotonic()
    make_home(homes["west"].folder, name="west", maximum_epsilon=1e-3)
    with pytest.raises(TooFewReplies, match=r"2 of the 3 updates it needs \(west: refused\)"):
        play(PrivateFederation(Arm.open(arm)), network_of(homes))
    assert time.monotonic() - began < 60 and lines(arm)[-1]["sites"]["west"]["reason"] == "refused"
    make_home(homes["west"].folder, name="west", maximum_epsilon=1e6, allow_seeded_noise=True)
    play(PrivateFederation(Arm.open(arm)), network_of(homes))
    assert all(releases(home) == [1] for home in homes.values())


@pytest.mark.parametrize("rule", ["krum", "trimmed_mean"])
def test_a_rule_that_needs_more_sites_than_there_are_is_refused_before_anybody_is_asked(federate, rule):
    arm, homes = federate("run", aggregation={"rule": rule, "shrinkage": "none"})
    network = network_of(homes)
    context = next(iter(network.contexts.values()))
    context.run_config["arm"] = str(arm)
    with pytest.raises(UserError, match=f"aggregation.rule: {rule} needs . sites with these parameters, found 3"):
        server_app(grid=network, context=context)
    assert all(not home.ledger.path.exists() for home in homes.values())


def test_a_robust_rule_waits_for_as_many_as_its_promise_needs(federate):
    arm, homes = federate("run", aggregation={"rule": "krum", "byzantine_sites": 0, "shrinkage": "none"})
    assert Arm.open(arm).minimum_replies == 3
    with pytest.raises(TooFewReplies, match="2 of the 3 updates it needs"):
        play(PrivateFederation(Arm.open(arm)), Moody(network_of(homes), away=[(2,)] * 10_000))
    play(PrivateFederation(Arm.open(arm)), network_of(homes))
    assert all(releases(home) == [1] for home in homes.values())


# a server that dies


def test_a_server_that_dies_in_every_round_ends_with_the_same_weights_to_the_bit(federate):
    """With all that a round can begin with: the optimizer's moments, averaged weights, the sites' residuals."""
    aggregation = {"server_optimizer": "adam", "server_learning_rate": 0.1, "ema_decay": 0.5, "shrinkage": "none"}
    compression = {"compression": "top_k", "top_k_share": 0.1}
    whole, homes = federate("whole", SEEDED, aggregation, **compression)
    play(PrivateFederation(Arm.open(whole)), network_of(homes), rounds=3)
    killed, homes = federate("killed", SEEDED, aggregation, **compression)
    for _ in range(3):
        dying, network = PrivateFederation(Arm.open(killed)), network_of(homes)
        list(network.send_and_receive(dying.configure_train(1, ArrayRecord(), ConfigRecord(), network)))
        play(PrivateFederation(Arm.open(killed)), network)
    one, other = Arm.open(whole).state(), Arm.open(killed).state()
    assert one.round == other.round == 3
    assert same(one.weights, other.weights) and same(one.averaged, other.averaged)
    assert all(releases(home) == [1, 2, 3] for home in homes.values())


def test_the_state_that_a_round_is_asked_for_from_is_on_disk_before_anybody_is_asked(federate, tmp_path):
    """Whatever strategy: what the request says of the weights is what the checkpoint holds."""
    arm, homes = federate("run")
    strategy = PrivateFederation(Arm.open(arm))
    play(strategy, network_of(homes))
    seen = []

    class Watching(InProcessGrid):
        def push_messages(self, messages):
            for message in (asked := list(messages)):
                request = json.loads(str(message.content["request"]["json"]))
                seen.append((request["weights"], load_state(arm / "checkpoint.safetensors").digest))
            return super().push_messages(asked)

    whole = network_of(homes)
    play(strategy, Watching(whole.contexts, whole.tick), rounds=2)
    assert len(seen) == 6 and all(asked == stored for asked, stored in seen)


# small messages


def test_after_its_first_round_a_site_is_sent_what_changed_alone(federate, tiny_generator_config):
    few = tiny_generator_config.model_copy(update={"trainable": "modulation"})
    arm, homes = federate("run", generator=few, plan=SEEDED)
    play(PrivateFederation(Arm.open(arm)), network_of(homes), rounds=3)
    weights = Arm.open(arm).state().weights
    trained = [n for n, p in build_generator(few, seed=0).enter(1, 6).named_parameters() if p.requires_grad]
    whole, part = (sum(weights[name].nbytes for name in names) for names in (weights, trained))
    first, *later = [line["bytes"] for line in lines(arm)]
    assert 3 * whole < first["down"] < 4 * whole
    assert all(one["down"] < first["down"] / 2 for one in later), (
        "at most the trained ones, if shrinkage lets them move"
    )
    assert all(3 * part < line["bytes"]["up"] < first["down"] / 2 for line in lines(arm))


@pytest.mark.parametrize("gone", [True, False])
def test_a_site_that_has_not_the_last_weights_says_no_for_nothing_and_is_sent_them_all_next(
    federate, tiny_generator_config, gone
):
    few = tiny_generator_config.model_copy(update={"trainable": "modulation"})
    arm, homes = federate("run", generator=few)
    strategy, network = PrivateFederation(Arm.open(arm)), network_of(homes)
    play(strategy, network)
    (path,) = (homes["north"].folder / "weights").iterdir()
    path.unlink()
    if not gone:  # a copy of the home from before, which is of other weights
        save_weights(path, read_weights(build_generator(few, seed=1)), {})
    play(strategy, network, rounds=2)
    assert [line["sites"]["north"]["reason"] for line in lines(arm)] == [None, "refused", None]
    assert releases(homes["north"]) == [1, 3]


def test_a_site_that_answers_from_a_part_answers_as_from_the_whole(federate):
    one, homes = federate("one", plan=SEEDED)
    play(PrivateFederation(Arm.open(one)), network_of(homes), rounds=2)
    two, homes = federate("two", plan=SEEDED)
    for _ in range(2):
        play(PrivateFederation(Arm.open(two)), network_of(homes))  # a new server sends all
    assert same(Arm.open(one).state().weights, Arm.open(two).state().weights)


def test_sharing_noise_too_the_weights_travel_once(tmp_path, tiny_generator_config, fp32_training):
    strategy, homes = sharing(tmp_path, tiny_generator_config, fp32_training)
    play(strategy, network_of(homes), rounds=2)
    first, second = lines(strategy.arm.folder)
    whole = 3 * sum(array.nbytes for array in strategy.state.weights.values())
    assert first["bytes"]["down"] > whole and second["bytes"]["down"] < first["bytes"]["down"] - whole / 2
    assert all(notes["reason"] is None for notes in second["sites"].values())
