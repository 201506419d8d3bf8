"""The coordinating side of a run, without any network: the global state, how updates move it, and its checkpoints."""

import json
import math
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64
from torch.utils.tensorboard import SummaryWriter

from cmrfed.aggregation import Moments, fewest_updates, join, server_step, shrunk
from cmrfed.config import AggregationConfig, GeneratorConfig, RunConfig, Stage, UserError, read_stage_json
from cmrfed.core import atomic
from cmrfed.core.json_lines import append_line
from cmrfed.federation.rounds import Traffic, epsilon_by_site, read_rounds
from cmrfed.generators import build_generator
from cmrfed.preparation import phantom_stream
from cmrfed.privacy import DistributedNoise, Noised, NoPrivacy, Plan
from cmrfed.replies import InvalidReply, SiteReply
from cmrfed.site import Request
from cmrfed.site.request import digest
from cmrfed.slices import Slices
from cmrfed.training import LocalTask, has_public_objectives, train_publicly, validation_losses
from cmrfed.training.reach import gradient_reach
from cmrfed.updates import (
    Weights,
    apply_update,
    average,
    load_weights,
    read_weights,
    sampling_notes,
    save_generator,
    save_weights,
    unflatten,
    write_weights,
)


@dataclass(frozen=True)
class GlobalState:
    """The generator after `round` rounds: the weights that are trained on, and their average, which is sampled.

    `max_grad_norm` is where adaptive clipping stands; None is where the plan begins. `moments` are those of the
    server's optimizer. All that the next round begins with is here, and so in the checkpoint.
    """

    round: int
    weights: Weights
    averaged: Weights
    max_grad_norm: float | None = None
    moments: Moments = field(default_factory=Moments)

    @cached_property
    def digest(self) -> str:
        """SHA-256, hex, of the weights that are trained on."""
        return digest("", self.weights)


def advance(
    state: GlobalState,
    updates: Sequence[Weights],
    config: AggregationConfig,
    norms: Sequence[float] = (),
    post_process: Callable[[Weights], Weights] = lambda weights: weights,
    noise_std: float = 0.0,
) -> GlobalState:
    """Move the weights by the sites' updates, joined by the rule, as the server's optimizer has it; with no update at
    all they stay. The average follows.

    `post_process` is what is made of the moved weights without any patient's data. `norms` are the clipping norms that
    the sites came to; their geometric mean is where the next round begins. `noise_std` is that of every number of the
    joined update, for `config.shrinkage`.

    The decay warms up as min(decay, (1 + r) / (10 + r)), so that the first rounds do not drag the initial weights on.
    """
    weights, moments = state.weights, state.moments
    if updates:
        joined = join(config, updates)
        believed = joined if config.shrinkage == "none" else shrunk(joined, noise_std)
        step, moments = server_step(config, moments, believed)
        weights = post_process(apply_update(weights, step))
    decay = min(config.ema_decay, (1 + state.round) / (10 + state.round))
    norm = math.exp(sum(map(math.log, norms)) / len(norms)) if norms else state.max_grad_norm
    return GlobalState(state.round + 1, weights, average(state.averaged, weights, decay), norm, moments)


def refuse_few_sites(config: RunConfig, sites: int) -> None:
    """Raise UserError where so many sites could never make a round, however well all of them answer."""
    rule, wanted = config.aggregation.rule, config.federation.minimum_replies or 1
    if sites < (needed := fewest_updates(config.aggregation)):
        raise UserError(
            f"aggregation.rule: {rule} needs {needed} sites with these parameters, found {sites}; choose rule=mean or "
            "median, which join any number, or change aggregation.trimmed_share or aggregation.byzantine_sites"
        )
    if sites < wanted:
        raise UserError(f"federation.minimum_replies: {wanted} is more than the {sites} sites there are; lower it")


def distributed_update(
    task: LocalTask, total: Int64[np.ndarray, " coordinate"], sites: int, generator: GeneratorConfig
) -> tuple[Weights, float]:
    """What a distributed step moves the weights by, and the next step's clipping norm, from the sum over `sites` sites.

    Plain gradient descent with the round's learning rate. Post-processing of the sum, which alone is private.
    Raises InvalidReply where no honest sites can have come to that sum; whose fault it is the masks hide.
    """
    plan = task.plan
    if not isinstance(plan, DistributedNoise):
        raise ValueError("only sites among which noise is distributed take such a step together")
    mean = plan.mean(Noised(torch.from_numpy(total)), task.clipping, sites)
    entry, norm, reach = float(mean.abs().max()), float(mean.norm()), gradient_reach(task, plan, len(total), sites)
    if not reach.holds(entry, norm):
        raise InvalidReply(
            f"the sum over {sites} sites makes a gradient of norm {norm:.3g} and an entry of {entry:.3g}; honest sites "
            f"reach {reach.norm:.3g} and {reach.entry:.3g} at most, so that one of them did not keep to the plan"
        )
    gradient, clipping = plan.split(mean, task.clipping)
    steps = (-task.learning_rate * gradient).float().numpy()
    return unflatten(steps, build_generator(generator, seed=0).enter(task.round, task.rounds)), clipping.max_grad_norm


def update_noise(task: LocalTask, sites: int) -> float:
    """Standard deviation of the noise in each number of what a round's sites move the weights by; 0 without privacy.

    Of plain descent at a fixed clipping norm, whose steps add up: independent ones of `sites` sites in their mean, or
    the shares of one step.
    """
    plan = task.plan
    match plan:
        case NoPrivacy():
            return 0.0
        case DistributedNoise():
            return task.learning_rate * plan.mean_noise(task.clipping, sites)
        case _:
            return task.learning_rate * plan.mean_noise(task.clipping) * math.sqrt(task.training.local_steps / sites)


def save_state(path: Path, state: GlobalState) -> None:
    """Write a checkpoint; a crash leaves the last one whole."""
    parts = {
        "weights": state.weights,
        "averaged": state.averaged,
        "first_moment": state.moments.first,
        "second_moment": state.moments.second,
    }
    save_weights(path, _under_names(parts), {"round": state.round, "max_grad_norm": state.max_grad_norm})


def load_state(path: Path) -> GlobalState:
    """Read a checkpoint."""
    arrays, notes = load_weights(path)
    parts = _by_names(arrays)
    norm, moments = notes["max_grad_norm"], Moments(parts["first_moment"], parts["second_moment"])
    return GlobalState(int(str(notes["round"])), parts["weights"], parts["averaged"], norm, moments)  # type: ignore[arg-type]


def _under_names(parts: Mapping[str, Weights]) -> Weights:
    """Several sets of weights as one, for a file: part/weight."""
    return {f"{part}/{name}": array for part, weights in parts.items() for name, array in weights.items()}


def _by_names(arrays: Weights) -> defaultdict[str, Weights]:
    """The sets of weights in a file, those without a weight left out."""
    parts: defaultdict[str, Weights] = defaultdict(dict)
    for name, array in arrays.items():
        part, _, weight = name.partition("/")
        parts[part][weight] = array
    return parts


_HEARTS_A_ROUND = 10_000
"""Phantom hearts are numbered; each round's public training begins at the next ten thousand, more than it can use."""


_TOLD = ("site", "loss", "max_grad_norm", "ledger_head")
"""Of an answer that is kept, besides its update."""


class ArmPlan(Stage):
    """What an arm's folder says of it in arm.json; all of it public."""

    run: str
    name: str
    config: RunConfig
    plan: Plan
    sites: tuple[str, ...]


def _line(round: int, replies: Sequence[SiteReply], started: float, traffic: Traffic) -> dict[str, Any]:
    """A round, as rounds.jsonl has it."""
    sites = {one.site: {"reason": one.reason, "loss": one.loss, "ledger_head": one.ledger_head} for one in replies}
    times = {"started": started, "finished": time.time()}
    return {"round": round, **times, "bytes": {"down": traffic.down, "up": traffic.up}, "sites": sites}


class Arm:
    """One federation within a run, in a folder of its own:

    arm.json               the plan
    initial.safetensors    the weights it starts from
    checkpoint.safetensors the state after the last whole round
    open_round.safetensors answers to the round after it, which too few sites have given yet
    attempt.json           the distributed step at work: sites may have paid for it, so that it is never asked for again
    rounds.jsonl           a line a round
    stopped.txt            after how many rounds and why it ended, where that was early
    model.safetensors      the averaged weights at the end, ready to sample
    """

    def __init__(self, folder: Path, plan: ArmPlan) -> None:
        self.folder, self.name, self.sites = folder, plan.name, plan.sites
        self.config, self.plan = plan.config, plan.plan
        self.run, self.run_at_sites = plan.run, f"{plan.run}/{plan.name}"

    @classmethod
    def create(cls, folder: Path, plan: ArmPlan, initial: Weights) -> "Arm":
        """Lay out a new arm's folder; arm.json comes last, so that a folder with it is whole."""
        folder.mkdir(parents=True, exist_ok=True)
        save_weights(folder / "initial.safetensors", initial, {"round": 0})
        atomic.write_text(folder / "arm.json", plan.model_dump_json(indent=2))
        return cls(folder, plan)

    @classmethod
    def open(cls, folder: Path) -> "Arm":
        """Open an arm's folder. Raises UserError when it is not one."""
        return cls(folder, read_stage_json(ArmPlan, folder / "arm.json"))

    def state(self) -> GlobalState:
        """The state after the last whole round, or the initial one."""
        checkpoint = self.folder / "checkpoint.safetensors"
        if checkpoint.exists():
            return load_state(checkpoint)
        initial, _ = load_weights(self.folder / "initial.safetensors")
        return GlobalState(0, initial, initial)

    def resume(self) -> GlobalState:
        """The state to go on from. For the one server of the arm, before it asks for anything.

        A distributed step that was cut short counts as a round without an update: sites may have paid for it, and the
        plan has paid for each round once.
        """
        state = self.state()
        attempt = self.folder / "attempt.json"
        if attempt.exists() and json.loads(attempt.read_text(encoding="utf-8"))["round"] > state.round:
            state = advance(state, [], self.config.aggregation)
            self.end_round(state, [], time.time(), Traffic())
        return state

    def request(self, state: GlobalState) -> Request:
        """What every site is asked for in the round after `state`."""
        task = LocalTask(
            training=self.config.training,
            plan=self.plan,
            round=state.round + 1,
            rounds=self.config.federation.rounds,
            max_grad_norm=state.max_grad_norm,
            seed=self.config.seed,
        )
        return Request(
            run=self.run_at_sites,
            generator=self.config.generator,
            task=task,
            messages=self.config.federation.messages,
            weights=state.digest,
        )

    @property
    def minimum_replies(self) -> int:
        """How many sites' updates a round is made of at least, >= 1."""
        return max(self.config.federation.minimum_replies or 1, fewest_updates(self.config.aggregation))

    def advance(
        self, state: GlobalState, updates: Sequence[Weights], norms: Sequence[float] = (), sites: int | None = None
    ) -> GlobalState:
        """The state after a round: the sites' updates joined, and the generator's public objectives trained on them.

        `sites`: how many made the updates, where it is not one each.
        """
        made_by = len(updates) if sites is None else sites
        noise_std = update_noise(self.request(state).task, made_by) if updates else 0.0
        post_process = partial(self._train_publicly, state.round + 1)
        return advance(state, updates, self.config.aggregation, norms, post_process, noise_std)

    def _train_publicly(self, round: int, weights: Weights) -> Weights:
        config, rounds = self.config, self.config.federation.rounds
        generator = build_generator(config.generator, seed=0).enter(round, rounds)
        if not has_public_objectives(generator):
            return weights
        write_weights(generator, weights)
        hearts = phantom_stream(config.seed, config.preprocessing, first=round * _HEARTS_A_ROUND)
        with closing(hearts):
            train_publicly(generator, hearts, config.training, config.seed, round)
        return read_weights(generator)

    def attempt(self, round: int) -> None:
        """Remember, durably, that a distributed step is about to be asked for."""
        atomic.write_text(self.folder / "attempt.json", json.dumps({"round": round}))

    def begin(self, state: GlobalState) -> None:
        """Log round 0, what the weights are worth before anybody trains, unless it is there from before. An arm that
        once stopped early has not, from here on."""
        (self.folder / "stopped.txt").unlink(missing_ok=True)
        if not (self.folder / "rounds.jsonl").exists():
            self._log(state, [], time.time(), Traffic())

    def end_round(self, state: GlobalState, replies: Sequence[SiteReply], started: float, traffic: Traffic) -> None:
        """Checkpoint first, then log: a round that is not in the checkpoint is asked for again."""
        save_state(self.folder / "checkpoint.safetensors", state)
        self._open_round.unlink(missing_ok=True)
        self._log(state, replies, started, traffic)

    def leave_open(self, state: GlobalState, replies: Sequence[SiteReply], started: float, traffic: Traffic) -> None:
        """Keep the answers to the round after `state`, too few to be applied, until it is asked for again, and note
        who is missing. What was answered was paid for: with the same request, it will be part of the round."""
        answers = [reply for reply in replies if reply.update is not None]
        arrays = _under_names({str(number): reply.update or {} for number, reply in enumerate(answers)})
        told = [{name: getattr(reply, name) for name in _TOLD} for reply in answers]
        save_weights(self._open_round, arrays, {"request": self.request(state).digest, "answers": told})
        line = _line(state.round + 1, replies, started, traffic) | {"applied": False, "validation": {}}
        append_line(self.folder / "rounds.jsonl", line)

    def answers_kept(self, state: GlobalState) -> dict[str, SiteReply]:
        """By site, what was answered already to the very request of the round after `state`."""
        if not self._open_round.exists():
            return {}
        arrays, notes = load_weights(self._open_round)
        if notes["request"] != self.request(state).digest:
            return {}
        updates = _by_names(arrays)
        answers: list[dict[str, Any]] = notes["answers"]  # type: ignore[assignment]
        return {told["site"]: SiteReply(update=updates[str(n)], **told) for n, told in enumerate(answers)}

    @property
    def _open_round(self) -> Path:
        return self.folder / "open_round.safetensors"

    def _log(self, state: GlobalState, replies: Sequence[SiteReply], started: float, traffic: Traffic) -> None:
        line = _line(state.round, replies, started, traffic) | {"applied": True}
        line["validation"] = self._validate(state) if self._is_validated(state.round) else {}
        append_line(self.folder / "rounds.jsonl", line)
        self._draw_curves()

    def _draw_curves(self) -> None:
        """The last round as TensorBoard events in the run's folder, beside those of the other arms; none where the log
        was damaged."""
        rounds, damage = read_rounds(self.folder / "rounds.jsonl")
        if damage:
            return
        last = rounds[-1]
        curves = {f"held-out loss/{vendor}": loss for vendor, loss in last.validation.items()}
        curves |= {f"training loss/{site}": note.loss for site, note in last.sites.items() if note.loss is not None}
        spent = epsilon_by_site(self.plan, self.config.training.local_steps, rounds)
        curves |= {f"epsilon/{site}": value for site, value in spent.items()}
        curves |= {"traffic, bytes/down": last.bytes.down, "traffic, bytes/up": last.bytes.up}
        with SummaryWriter(str(self.folder.parents[1] / "tensorboard" / self.name)) as writer:
            for name, value in (curves | {"seconds": last.finished - last.started}).items():
                writer.add_scalar(name, value, last.round)

    def _is_validated(self, round: int) -> bool:
        """Some sixteen times over the federation, the first and the last round among them."""
        rounds = self.config.federation.rounds
        return round % math.ceil(rounds / 16) == 0 or round == rounds

    def _validate(self, state: GlobalState) -> dict[str, float]:
        """Loss by vendor of what the round trained, on the evaluator's own held-out slices, where it has some; no
        trained patient is touched."""
        held_out = self.folder.parents[1] / "central" / "validation.safetensors"
        if not held_out.exists():
            return {}
        generator = build_generator(self.config.generator, seed=0)
        generator.enter(max(state.round, 1), self.config.federation.rounds)
        write_weights(generator, state.averaged)
        return validation_losses(generator, Slices.load(held_out), self.config.training, self.config.seed)

    def note_stop(self, state: GlobalState, reason: str) -> None:
        """Leave word of why the rounds ended early."""
        done = f"after {state.round} of {self.config.federation.rounds} rounds"
        atomic.write_text(self.folder / "stopped.txt", f"{done}: {reason}\n")

    def finish(self, state: GlobalState) -> None:
        """Write the model, with all that sampling needs; its presence says that the arm is done."""
        generator = build_generator(self.config.generator, seed=0)
        notes = sampling_notes(self.config) | {"rounds": state.round, "run": self.run}
        save_generator(self.folder / "model.safetensors", generator, state.averaged, **notes)
