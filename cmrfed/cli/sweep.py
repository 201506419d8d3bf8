"""`cmrfed sweep`: the privacy frontier."""

from functools import partial
from pathlib import Path
from typing import Any

from cmrfed.cli import total_of
from cmrfed.cli.stages import Sweep
from cmrfed.composition import option
from cmrfed.console import console, if_interrupted, progress_bar
from cmrfed.outputs import output_folder


def sweep(command: Sweep) -> None:
    from cmrfed import api
    from cmrfed.launching import launch
    from cmrfed.report.frontier import write_frontier
    from cmrfed.runs import Run
    from cmrfed.sweep import Measure, brackets, frontier, open_folder, score_bracket, swept_runs, train_run

    settings, config = command.sweep, command.config
    runs = swept_runs(config, settings, option("recipe", "none"))
    folder = open_folder(output_folder(command.out, api.ROOM_FOR_A_RUN_BYTES), config, settings)
    console.print(f"{len(runs)} runs, in {folder}", soft_wrap=True, markup=False)
    if told := total_of([one.config for one in runs]):
        console.print(told, soft_wrap=True, markup=False)
    api.load_data(config, folder)  # once, before several runs look for it at once
    measure = Measure(folder, config.evaluation, settings, progress_bar)
    work = partial(_done, measure=measure)
    with if_interrupted(lambda: f"what is done is kept in {folder}, and the same command goes on"):
        with progress_bar("runs") as progress:
            launch(work, runs, settings, folder, progress)
        first: Run = train_run(runs[0], folder, _federate)
        scores = [score_bracket(name, first, measure) for name in brackets(config)]
        scores += [work(one) for one in runs]
    page = write_frontier(frontier(scores, config.evaluation.bootstrap, config.seed), settings.masks, folder)
    console.print(f"frontier: {page}", soft_wrap=True, markup=False)


def _done(one: Any, measure: Any) -> Any:
    from cmrfed.sweep import score_run

    return score_run(one, measure, _federate)


def _federate(one: Any, folder: Path, cut_short: Any) -> Any:
    from cmrfed import api

    return api.resume(cut_short.folder) if cut_short else api.federate(one.config, folder, one.name)
