"""How far a recipe of private training goes on real patients: the held-out loss, round by round, in minutes.

The words are those of `cmrfed simulate`. Sites are the data sets by vendor, as in experiment=real_vendors; where noise
is distributed their patients are pooled, which is what a shared step comes to, and without privacy too. Nothing is
drawn, no segmenter is trained, and there is no ledger: it is for choosing among recipes, on a split, by seed=, that no
figure is reported on. What does not come near with hardly any noise cannot with more (for so little, of the accountants
RDP alone has a bound):

    python -m benches.frontier DATA STORE seed=1 privacy.mode=distributed
    python -m benches.frontier DATA STORE seed=1 privacy.mode=distributed privacy.noise_multiplier=0.01
      privacy.accountant=rdp
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benches.phantom import read_real
from cmrfed import api
from cmrfed.config import RunConfig
from cmrfed.console import console
from cmrfed.federation import GlobalState, advance, update_noise
from cmrfed.federation.start import initial_weights
from cmrfed.generators import build_generator
from cmrfed.privacy import LocalNoise, NoPrivacy, Plan
from cmrfed.slices import Slices, assign_sites, split_one_by_one
from cmrfed.training import LocalTask, train, validation_losses
from cmrfed.updates import Weights, write_weights


def main() -> None:
    """Print a line for each round."""
    data, store, *words = sys.argv[1:]
    config = api.configure("experiment=real_vendors", f"data.root={data}", *words)
    held_out_loss(read_real(data, Path(store)), config)


def held_out_loss(real: Slices, config: RunConfig) -> float:
    """Of the last round; those before it are printed."""
    trained, held_out = (
        real.subset(names) for names in split_one_by_one(real.records, config.federation.held_out_fraction, config.seed)
    )
    sites, plan = _sites(trained, config), _plan(config)
    noise = f", sigma {plan.noise_multiplier:.2f}" if isinstance(plan, LocalNoise) else ""
    patients = "+".join(str(site.number_of_patients) for site in sites)
    console.print(f"{patients} patients, {held_out.number_of_patients} held out{noise}")
    weights, began = initial_weights(config)[0], time.monotonic()
    state, start = GlobalState(0, weights, weights), _loss(weights, held_out, config)
    console.print(f"round 0: {start:.5f}")
    while state.round < config.federation.rounds:
        state = _round(state, sites, plan, config)
        loss = _loss(state.averaged, held_out, config)
        seconds_s = time.monotonic() - began
        console.print(f"round {state.round}: {loss:.5f} ({loss - start:+.5f}), {seconds_s:.0f} s")
    return loss


def _sites(trained: Slices, config: RunConfig) -> Sequence[Slices]:
    if config.privacy.mode == "local":
        return [trained.subset(names) for names in assign_sites(trained.records, config.federation).values()]
    return [trained]


def _plan(config: RunConfig) -> Plan:
    """Of a site; the pooled patients are planned for as so many as the sites' are together."""
    if config.privacy.mode == "none":
        return NoPrivacy()
    privacy = config.privacy
    if privacy.mode == "distributed":
        privacy = privacy.model_copy(update={"declared_patients": 3 * privacy.declared_patients})
    return LocalNoise.calibrated(privacy, config.federation, config.training)


def _round(state: GlobalState, sites: Sequence[Slices], plan: Plan, config: RunConfig) -> GlobalState:
    task = LocalTask(
        training=config.training, plan=plan, round=state.round + 1, rounds=config.federation.rounds, seed=config.seed
    )
    updates: list[Weights] = []
    for number, site in enumerate(sites):
        generator = build_generator(config.generator, seed=0)
        write_weights(generator, state.weights)
        updates.append(train(generator, site, task.model_copy(update={"site": number})).update)
    return advance(state, updates, config.aggregation, noise_std=update_noise(task, len(sites)))


def _loss(weights: Weights, held_out: Slices, config: RunConfig) -> float:
    generator = build_generator(config.generator, seed=0)
    write_weights(generator, weights)
    losses = validation_losses(generator, held_out, config.training, config.seed)
    return sum(losses.values()) / len(losses)


if __name__ == "__main__":
    main()
