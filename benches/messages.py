"""What a federation's messages weigh, and what fewer bytes cost: held-out loss on phantoms, by how updates are sent.

Four sites, one for each vendor of the phantom, train together: all weights of a small network from scratch, without
privacy; or the foundation's public directions, with each site's own noise. Everything but `federation.compression` is
the same within a group, the noise too, so that differences are those of what was sent. Bytes are those of rounds.jsonl
for one site, in its first round and in the last; *of the model*: the last round's bytes up over those of all weights in
32 bits.

    python -m benches.messages FOLDER

Some ten minutes on one core. Words after the folder are those of `cmrfed simulate`, for every run.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

from cmrfed import api
from cmrfed.apps.simulations.simulate import simulate
from cmrfed.console import console
from cmrfed.core.json_lines import read_lines
from cmrfed.runs import Run
from cmrfed.updates import load_weights

SMALL = ("data.phantom.patients_per_vendor=16", "federation.engine=inprocess")
WHOLE = (
    *("recipe=none", "generator.init=null", "generator.channels=[16,32]", "preprocessing.size=32"),
    *("federation.rounds=24", "training.local_steps=10", "aggregation.ema_decay=0"),
)
NOISED = ("recipe=local", "privacy.seed=1", "aggregation.shrinkage=none")
NONE: tuple[str, ...] = ()
INT8 = ("federation.compression=int8",)
GROUPS: dict[str, dict[str, tuple[str, ...]]] = {
    "all weights, no privacy": {
        "none": (*WHOLE, *NONE),
        "int8": (*WHOLE, *INT8),
        "top_k, 1 in 20": (*WHOLE, "federation.compression=top_k", "federation.top_k_share=0.05"),
        "top_k, 1 in 100": (*WHOLE, "federation.compression=top_k"),
    },
    "320 directions, epsilon 8": {"none": (*NOISED, *NONE), "int8": (*NOISED, *INT8)},
}
TITLES = ("trained", "sent as", "down at first", "down", "up", "of the model", "held-out loss", "of the start's")


@dataclass(frozen=True)
class Measured:
    """Bytes of one site; losses of the initial weights and of the last, on hearts that nobody trained on."""

    first_down: float
    down: float
    up: float
    model: int
    start: float
    loss: float


def main() -> None:
    """Print a table in Markdown."""
    out, *words = sys.argv[1:]
    rows = [TITLES, ("---",) * len(TITLES)]
    for group, ways in GROUPS.items():
        for way, own in ways.items():
            run = simulate(api.configure(*SMALL, *own, *words), Path(out))
            rows.append((group, way, *cells(read(run))))
    for row in rows:
        console.print(f"| {' | '.join(row)} |", soft_wrap=True)


def read(run: Run) -> Measured:
    """What one run's rounds say."""
    arm = run.arm_folder(run.main_arm())
    start, first, *later = read_lines(arm / "rounds.jsonl")
    sites, last = len(run.sites), later[-1]
    weights, _ = load_weights(arm / "initial.safetensors")
    return Measured(
        first_down=first["bytes"]["down"] / sites,
        down=last["bytes"]["down"] / sites,
        up=last["bytes"]["up"] / sites,
        model=sum(array.nbytes for name, array in weights.items() if not name.startswith("directions.")),
        start=_mean(start["validation"]),
        loss=_mean(last["validation"]),
    )


def cells(row: Measured) -> list[str]:
    """As the table has it."""
    bytes_ = [f"{number / 1000:,.1f} kB" for number in (row.first_down, row.down, row.up)]
    return [*bytes_, f"1/{row.model / row.up:,.0f}", f"{row.loss:.5f}", f"{row.loss / row.start:.4f}"]


def _mean(validation: dict[str, float]) -> float:
    return sum(validation.values()) / len(validation)


if __name__ == "__main__":
    main()
