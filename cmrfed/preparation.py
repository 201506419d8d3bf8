"""A configured data set -> all its slices on the common grid; the phantom is written first where it is asked for."""

import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from cmrfed.config import DataConfig, PreprocessingConfig
from cmrfed.datasets import find_entries
from cmrfed.datasets.phantom import phantom_patient, write_phantom
from cmrfed.preprocessing import prepare
from cmrfed.slices import Slices, collect
from cmrfed.volumes import Case, Entry, load_case

Progress = Callable[[int, int], None]


def read_slices(data: DataConfig, preprocessing: PreprocessingConfig, progress: Progress | None = None) -> Slices:
    """Read and prepare every case of every source, in parallel over cases.

    Raises UserError, naming the file or key, at the first thing that cannot be used; nothing is skipped silently.
    """
    entries = [entry for name, root in source_folders(data).items() for entry in find_entries(name, root)]
    workers = min(os.cpu_count() or 1, len(entries))
    one = partial(_read_and_prepare, preprocessing=preprocessing)
    cases: list[Case] = []
    with ProcessPoolExecutor(workers, mp_context=get_context("forkserver")) as pool:
        for case in pool.map(one, entries, chunksize=4):
            cases.append(case)
            if progress:
                progress(len(cases), len(entries))
    return collect(cases)


def phantom_slices(
    patients: int, seed: int, preprocessing: PreprocessingConfig, progress: Progress | None = None
) -> Slices:
    """Slices of generic phantom hearts with randomised styles, rendered in parallel."""
    one = partial(_phantom_patient, seed=seed, preprocessing=preprocessing)
    cases: list[Case] = []
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("forkserver")) as pool:
        for done, patient in enumerate(pool.map(one, range(patients), chunksize=4), start=1):
            cases += patient
            if progress:
                progress(done, patients)
    return collect(cases)


def source_folders(data: DataConfig) -> dict[str, Path]:
    """Absolute folder of each source."""
    return {name: (Path(data.root).expanduser() / folder).resolve() for name, folder in data.sources.items()}


def write_configured_phantom(data: DataConfig, progress: Progress | None = None) -> None:
    """Write the phantom data set that `data` names, if it is not there yet."""
    write_phantom(source_folders(data)["phantom"], data.phantom, progress)


def _read_and_prepare(entry: Entry, preprocessing: PreprocessingConfig) -> Case:
    return prepare(load_case(entry), preprocessing)


def _phantom_patient(index: int, seed: int, preprocessing: PreprocessingConfig) -> list[Case]:
    return [prepare(case, preprocessing) for case in phantom_patient(index, seed)]
