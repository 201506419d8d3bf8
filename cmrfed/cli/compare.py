"""`cmrfed compare`: families of generators under one protocol."""

from pathlib import Path
from typing import Any

from cmrfed.cli import total_of
from cmrfed.cli.stages import CompareFamilies
from cmrfed.composition import option
from cmrfed.config import StoppedEarly
from cmrfed.console import console, if_interrupted, progress_bar
from cmrfed.outputs import output_folder


def compare(command: CompareFamilies) -> None:
    from cmrfed import api
    from cmrfed.comparison import Work, compared, in_order, open_folder
    from cmrfed.launching import launch
    from cmrfed.report.families import write_families

    settings, config = command.comparison, command.config
    folder = open_folder(output_folder(command.out, api.ROOM_FOR_A_RUN_BYTES), config, settings)
    runs, speeds = _planned(command, folder)
    console.print(f"{len(runs)} runs, in {folder}", soft_wrap=True, markup=False)
    if told := total_of([one.config for one in runs]):
        console.print(told, soft_wrap=True, markup=False)
    work = Work(folder, _federate, progress_bar)
    with if_interrupted(lambda: f"what is done is kept in {folder}, and the same command goes on"):
        with progress_bar("runs") as progress:
            launch(work, in_order(runs), settings, folder, progress)
        done = [(one, work(one)) for one in runs]
        found = [part for one, run in done for part in compared(one, run, speeds[one.family])]
    page = write_families(found, folder)
    console.print(f"families: {page}", soft_wrap=True, markup=False)
    if ended := [f"{one.name} stopped {why}" for one, run in done for why in run.early_ends().values()]:
        raise StoppedEarly(f"{'; '.join(ended)}; the others are in {page}", folder)


def _planned(command: CompareFamilies, folder: Path) -> tuple[list[Any], dict[str, Any]]:
    """The runs, and the speeds of families, measured one after the other."""
    from cmrfed import api
    from cmrfed.comparison import compared_runs, speed_of
    from cmrfed.comparison.plan import family_config
    from cmrfed.core.progress import counted

    without_privacy = option("recipe", "none")
    batch = int(without_privacy["training"]["batch_size"])
    runs, speeds = [], {}
    configs = {name: family_config(command.config, option("generator", name)) for name in command.families}
    for config in {config.preprocessing: config for config in configs.values()}.values():
        api.load_data(config, folder)  # once, before several runs look for it at once
    with progress_bar("measuring speeds") as progress:
        for name, config in counted(iter(configs.items()), len(configs), progress):
            speeds[name] = speed_of(config, batch, folder / "speeds" / f"{name}.json")
            runs += compared_runs(name, config, command.comparison, speeds[name], without_privacy)
    return runs, speeds


def _federate(one: Any, folder: Path, cut_short: Any) -> Any:
    from cmrfed import api

    return api.resume(cut_short.folder) if cut_short else api.federate(one.config, folder, one.name)
