"""The coordinating side of a run, without any network: the global state, how updates move it, and its checkpoints."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from cmrfed.aggregation import RULES
from cmrfed.config import AggregationConfig, RunConfig, Stage, read_stage_json
from cmrfed.generators import build_generator
from cmrfed.privacy import PrivacyPlan
from cmrfed.site import Request
from cmrfed.slices import Slices
from cmrfed.training import LocalTask, validation_losses
from cmrfed.updates import Weights, apply_update, average, load_weights, save_generator, save_weights, write_weights


@dataclass(frozen=True)
class GlobalState:
    """The generator after `round` rounds: the weights that are trained on, and their average, which is sampled."""

    round: int
    weights: Weights
    averaged: Weights


def advance(state: GlobalState, updates: Sequence[Weights], config: AggregationConfig) -> GlobalState:
    """Move the weights by the rule's joint update; with no update at all they stay. The average follows.

    The decay warms up as min(decay, (1 + r) / (10 + r)), so that the first rounds do not drag the initial weights on.
    """
    weights = state.weights
    if updates:
        weights = apply_update(weights, RULES[config.rule](updates), config.server_learning_rate)
    decay = min(config.ema_decay, (1 + state.round) / (10 + state.round))
    return GlobalState(state.round + 1, weights, average(state.averaged, weights, decay))


def save_state(path: Path, state: GlobalState) -> None:
    """Write a checkpoint; a crash leaves the last one whole."""
    both = {f"weights/{n}": a for n, a in state.weights.items()} | {
        f"averaged/{n}": a for n, a in state.averaged.items()
    }
    save_weights(path, both, {"round": state.round})


def load_state(path: Path) -> GlobalState:
    """Read a checkpoint."""
    arrays, notes = load_weights(path)
    parts: dict[str, Weights] = {"weights": {}, "averaged": {}}
    for name, array in arrays.items():
        part, _, weight = name.partition("/")
        parts[part][weight] = array
    return GlobalState(int(str(notes["round"])), parts["weights"], parts["averaged"])


@dataclass(frozen=True)
class SiteReply:
    """A site's answer to a round: an update, or the reason why there is none. `loss` only without privacy."""

    site: str
    update: Weights | None
    reason: str | None = None
    loss: float | None = None


class ArmPlan(Stage):
    """What an arm's folder says of it in arm.json; all of it public."""

    run: str
    name: str
    config: RunConfig
    plan: PrivacyPlan | None
    sites: tuple[str, ...]


class Arm:
    """One federation within a run, in a folder of its own:

    arm.json               the plan
    initial.safetensors    the weights it starts from
    checkpoint.safetensors the state after the last whole round
    rounds.jsonl           a line a round
    model.safetensors      the averaged weights at the end, ready to sample
    """

    def __init__(self, folder: Path, plan: ArmPlan) -> None:
        self.folder, self.name, self.sites = folder, plan.name, plan.sites
        self.config, self.plan, self.run = plan.config, plan.plan, plan.run

    @classmethod
    def create(cls, folder: Path, plan: ArmPlan, initial: Weights) -> "Arm":
        """Lay out a new arm's folder; arm.json comes last, so that a folder with it is whole."""
        folder.mkdir(parents=True, exist_ok=True)
        save_weights(folder / "initial.safetensors", initial, {"round": 0})
        (folder / "arm.json").write_text(plan.model_dump_json(indent=2))
        return cls(folder, plan)

    @classmethod
    def open(cls, folder: Path) -> "Arm":
        """Open an arm's folder. Raises UserError when it is not one."""
        return cls(folder, read_stage_json(ArmPlan, folder / "arm.json"))

    def resume(self) -> GlobalState:
        """The state after the last whole round, or the initial one."""
        checkpoint = self.folder / "checkpoint.safetensors"
        if checkpoint.exists():
            return load_state(checkpoint)
        initial, _ = load_weights(self.folder / "initial.safetensors")
        return GlobalState(0, initial, initial)

    def request(self, round: int) -> Request:
        """What every site is asked for in a round."""
        federation, seed = self.config.federation, self.config.seed
        task = LocalTask(
            training=self.config.training, plan=self.plan, round=round, rounds=federation.rounds, seed=seed
        )
        return Request(run=f"{self.run}/{self.name}", generator=self.config.generator, task=task)

    def begin(self, state: GlobalState) -> None:
        """Log round 0, what the weights are worth before anybody trains, unless it is there from before."""
        if not (self.folder / "rounds.jsonl").exists():
            self._log(state, [], time.time())

    def end_round(self, state: GlobalState, replies: Sequence[SiteReply], started: float) -> None:
        """Checkpoint first, then log: a round that is not in the checkpoint is asked for again."""
        save_state(self.folder / "checkpoint.safetensors", state)
        self._log(state, replies, started)

    def _log(self, state: GlobalState, replies: Sequence[SiteReply], started: float) -> None:
        sites = {reply.site: {"reason": reply.reason, "loss": reply.loss} for reply in replies}
        line: dict[str, Any] = {"round": state.round, "started": started, "finished": time.time(), "sites": sites}
        line["validation"] = self._validate(state)
        with (self.folder / "rounds.jsonl").open("a") as log:
            log.write(json.dumps(line) + "\n")
        self._draw_curves(state.round, line["validation"], replies)

    def _draw_curves(self, round: int, validation: dict[str, float], replies: Sequence[SiteReply]) -> None:
        """The round as TensorBoard events in the run's folder, beside those of the other arms."""
        with SummaryWriter(str(self.folder.parents[1] / "tensorboard" / self.name)) as writer:
            for vendor, loss in validation.items():
                writer.add_scalar(f"held-out loss/{vendor}", loss, round)
            for reply in replies:
                if reply.loss is not None:
                    writer.add_scalar(f"training loss/{reply.site}", reply.loss, round)

    def _validate(self, state: GlobalState) -> dict[str, float]:
        """Loss by vendor on the evaluator's own held-out slices, where it has some; no trained patient is touched."""
        held_out = self.folder.parents[1] / "central" / "validation.safetensors"
        if not held_out.exists():
            return {}
        generator = build_generator(self.config.generator, seed=0)
        write_weights(generator, state.averaged)
        return validation_losses(generator, Slices.load(held_out), self.config.training, self.config.seed)

    def note_stop(self, reason: str) -> None:
        """Leave word of why the rounds ended early."""
        (self.folder / "stopped.txt").write_text(reason + "\n")

    def finish(self, state: GlobalState) -> None:
        """Write the model; its presence says that the arm is done."""
        generator = build_generator(self.config.generator, seed=0)
        save_generator(self.folder / "model.safetensors", generator, state.averaged, rounds=state.round, run=self.run)
