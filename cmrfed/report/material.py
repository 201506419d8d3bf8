"""All that a report is made of, read from the run's folder once."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cmrfed.config import UserError, not_readable
from cmrfed.core.json_lines import read_lines
from cmrfed.runs import Run
from cmrfed.site import Home
from cmrfed.slices import Slices

Results = dict[str, Any]

_ARMS = ("epsilon_0", "private", "non_private", "external")


@dataclass(frozen=True)
class Material:
    """A run as its files tell it.

    results: results.json. rounds: by arm, the whole lines of rounds.jsonl. stopped: by arm, after how many rounds
    and why it ended early.
    synthetic: by arm, its slices for held-out masks. spent: by site, (round, epsilon after it) of this run's ledger
    rows. held_out: real slices, None unless they were asked for.
    """

    run: Run
    results: Results
    rounds: dict[str, list[Results]]
    stopped: dict[str, str]
    synthetic: dict[str, Slices]
    spent: dict[str, list[tuple[int, float]]]
    held_out: Slices | None

    @property
    def main_arm(self) -> str:
        return str(self.results["arm"])

    @property
    def scores(self) -> dict[str, Results]:
        """Scores by arm, the one without private data first; a kind of score that was not measured is None."""
        kinds = dict.fromkeys(("fidelity", "utility", "leakage", "audits"))
        return {arm: kinds | self.results["arms"][arm] for arm in _ARMS if arm in self.results["arms"]}

    @property
    def public_start(self) -> bool:
        """Whether the start was made without any patient: another run's generator is only known to be older."""
        return self.run.config.generator.init in (None, "phantom")

    @property
    def only_phantoms(self) -> bool:
        """Whether no person is in the data at all."""
        return set(self.run.config.data.sources) == {"phantom"}

    def arm_title(self, arm: str) -> str:
        """An arm in a reader's words."""
        start = (
            "public start, ε\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}0" if self.public_start else "start, before this run"
        )
        titles = {
            "epsilon_0": start,
            "private": "private",
            "non_private": "without privacy",
            "external": "made elsewhere",
        }
        return titles[arm]


def why_void(utility: Results | None) -> str | None:
    """Why a comparison of usefulness says nothing; None where it does, or where nothing was measured."""
    return (utility or {}).get("void")


def of_no_use(utility: Results) -> bool:
    """Whether a segmenter that learnt from synthetic images is not known to beat one that looks at no image."""
    return "over_blind" in utility and not utility["over_blind"]["synthetic"]["beats_blind"]


def read_material(run: Run, show_real_images: bool) -> Material:
    """Read a run. Raises UserError when results.json is missing or is not one, or when a ledger was tampered with."""
    arms = [arm for arm in _ARMS if run.arm_folder(arm).is_dir()]
    synthetic = {arm: run.arm_folder(arm) / "synthetic.safetensors" for arm in arms}
    return Material(
        run=run,
        results=_read_results(run.folder / "results.json"),
        rounds={arm: read_lines(run.arm_folder(arm) / "rounds.jsonl") for arm in arms},
        stopped=run.early_ends(),
        synthetic={arm: Slices.load(path) for arm, path in synthetic.items() if path.exists()},
        spent={site: spent for site in run.sites if (spent := _spent(run, site))},
        held_out=run.held_out_slices() if show_real_images else None,
    )


def _read_results(path: Path) -> Results:
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
        kept: Results = {key: results[key] for key in ("arm", "arms", "sites", "timing")} | results
    except OSError as error:
        otherwise = f"{path}: is missing; run `cmrfed evaluate run={path.parent}` first"
        raise not_readable(path, error, otherwise) from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: is not a run's results ({reason}); run `cmrfed evaluate` again") from None
    return kept


def _spent(run: Run, site: str) -> list[tuple[int, float]]:
    """Nothing where the home is not at hand: it is the site's own, and a shared run comes without it."""
    home = run.site_home(site)
    return Home(home).spent_in(f"{run.record.name}/private") if (home / "site.yaml").exists() else []
