"""All that a report is made of, read from the run's folder once."""

from dataclasses import dataclass
from typing import Any

from cmrfed.core.json_lines import read_lines
from cmrfed.evaluation.schema import ArmScores, Results
from cmrfed.federation.start import PHANTOM
from cmrfed.foundation import FOUNDATION
from cmrfed.runs import Run, read_results
from cmrfed.site import Home
from cmrfed.slices import Slices

Line = dict[str, Any]
"""Of a log."""

_ARMS = ("epsilon_0", "private", "non_private", "external")


@dataclass(frozen=True)
class Material:
    """A run as its files tell it.

    rounds: by arm, the whole lines of rounds.jsonl. stopped: by arm, after how many rounds and why it ended early.
    synthetic: by arm, its slices for held-out masks. spent: by site, (round, epsilon after it) of this run's ledger
    rows. held_out: real slices, None unless they were asked for.
    """

    run: Run
    results: Results
    rounds: dict[str, list[Line]]
    stopped: dict[str, str]
    synthetic: dict[str, Slices]
    spent: dict[str, list[tuple[int, float]]]
    held_out: Slices | None

    @property
    def main_arm(self) -> str:
        return self.results.arm

    @property
    def main(self) -> ArmScores:
        """The run's own arm's scores."""
        return self.results.arms.get(self.main_arm, ArmScores())

    @property
    def scores(self) -> dict[str, ArmScores]:
        """Scores by arm, the one without private data first."""
        return {arm: self.results.arms[arm] for arm in _ARMS if arm in self.results.arms}

    @property
    def why_void(self) -> str | None:
        """Why the comparison of segmenters says nothing of usefulness; None where it does, or was not made."""
        return self.main.utility.void if self.main.utility else None

    @property
    def public_start(self) -> bool:
        """Whether nobody in the start has privacy to lose: another run's generator is only known to be older."""
        return self.run.config.generator.init in (None, PHANTOM, FOUNDATION) or bool(self.public_patients)

    @property
    def public_patients(self) -> int:
        """How many public patients taught the start."""
        return int(self.run.record.pretraining.get("public_patients", 0))

    @property
    def only_phantoms(self) -> bool:
        """Whether no person is in the data at all."""
        return set(self.run.config.data.sources) == {"phantom"}

    def arm_title(self, arm: str) -> str:
        """An arm in a reader's words."""
        public = f"start of {self.public_patients} public patients" if self.public_patients else "public start"
        start = f"{public}, ε\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}0" if self.public_start else "start, before this run"
        titles = {
            "epsilon_0": start,
            "private": "private",
            "non_private": "without privacy",
            "external": "made elsewhere",
        }
        return titles[arm]


def read_material(run: Run, show_real_images: bool) -> Material:
    """Read a run. Raises UserError when results.json is missing or is not one, or when a ledger was tampered with."""
    arms = [arm for arm in _ARMS if run.arm_folder(arm).is_dir()]
    synthetic = {arm: run.arm_folder(arm) / "synthetic.safetensors" for arm in arms}
    return Material(
        run=run,
        results=read_results(run.folder),
        rounds={arm: read_lines(run.arm_folder(arm) / "rounds.jsonl") for arm in arms},
        stopped=run.early_ends(),
        synthetic={arm: Slices.load(path) for arm, path in synthetic.items() if path.exists()},
        spent={site: spent for site in run.sites if (spent := _spent(run, site))},
        held_out=run.held_out_slices() if show_real_images else None,
    )


def _spent(run: Run, site: str) -> list[tuple[int, float]]:
    """Nothing where the home is not at hand: it is the site's own, and a shared run comes without it."""
    home = run.site_home(site)
    return Home(home).spent_in(f"{run.record.name}/private") if (home / "site.yaml").exists() else []
