"""A run with the troubles that runs have, made by the coordinator's own strategy; and pages, served, to visit."""

import queue
import threading
from pathlib import Path
from typing import Any

import httpx
from conftest import toy_plan, toy_slices
from flwr.app import ArrayRecord, ConfigRecord
from homes import make_home, network_of
from tiny_runs import tiny_run_config

from cmrfed.apps.server.strategy import PrivateFederation, TooFewReplies
from cmrfed.config import GeneratorConfig, TrainingConfig
from cmrfed.federation import Arm, ArmPlan
from cmrfed.generators import build_generator
from cmrfed.updates import read_weights
from cmrfed.watching.web import Page, serve

NAMES = ("East", "North", "West")
PLAN = toy_plan(seed=None, target_epsilon=8.0, steps=6, sample_rate=1.0, noise_multiplier=2.0)


def troubled_run(run: Path) -> Arm:
    """Four of six rounds of three sites: one whole, one that North refuses, one that West misses, and one that is left
    open with East's answer alone."""
    config = tiny_run_config(run, federation={"rounds": 6, "round_timeout_s": 0.1, "minimum_replies": 2})
    generator = GeneratorConfig(channels=(8, 8), norm_groups=4, trainable="all", init=None)
    training = TrainingConfig(
        local_steps=1, optimizer="sgd", learning_rate=0.1, batch_size=4, slices_per_patient=2, precision="fp32"
    )
    config = config.model_copy(update={"generator": generator, "training": training})
    toy_slices([2, 2], seed=9).save(run / "central" / "validation.safetensors")
    weights = read_weights(build_generator(generator, seed=0))
    plan = ArmPlan(run=run.name, name="private", config=config, plan=PLAN, sites=NAMES)
    arm = Arm.create(run / "arms" / "private", plan, weights)
    homes = {name: make_home(run.parent / f"homes of {run.name}" / name, name=name) for name in NAMES}
    arm.begin(arm.state())
    strategy = PrivateFederation(arm)
    _play(strategy, homes)
    make_home(homes["North"].folder, name="North", maximum_epsilon=1e-3)
    _play(strategy, homes)
    make_home(homes["North"].folder, name="North")
    _play(strategy, homes, away="West")
    try:
        _play(strategy, {"East": homes["East"]})
    except TooFewReplies:
        return arm
    raise AssertionError("one answer is too few")


def _play(strategy: PrivateFederation, homes: dict[str, Any], away: str = "") -> None:
    network = network_of({name: home for name, home in homes.items() if name != away})
    messages = strategy.configure_train(1, ArrayRecord(), ConfigRecord(), network)
    strategy.aggregate_train(1, network.send_and_receive(messages))


def visited(page: Page, address: str = "127.0.0.1", secret: bool = True) -> str:
    """The link of a page that is served, over real HTTP, for as long as the tests last."""
    told: queue.Queue[str] = queue.Queue()
    arguments = (page, address, 0, secret, told.put)
    threading.Thread(target=serve, args=arguments, daemon=True).start()
    return next(word for word in told.get(timeout=60).split() if word.startswith("http"))


def browser(link: str) -> httpx.Client:
    """Who has opened a link, with the cookie that it sets."""
    client = httpx.Client(base_url=link.partition("?")[0], follow_redirects=True, trust_env=False)
    client.get(link).raise_for_status()
    return client
