"""What this machine can do, before anybody waits for it: what is installed, what it computes with, room, and speed."""

import importlib.metadata
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import torch
from packaging.requirements import Requirement

from cmrfed.cache import cache_folder
from cmrfed.columns import columns
from cmrfed.config import SamplingConfig, UserError
from cmrfed.core.check import Check
from cmrfed.foundation import foundation_generator
from cmrfed.outputs import output_folder
from cmrfed.sampling import synthesise
from cmrfed.shapes import Label
from cmrfed.slices import masks_alone
from cmrfed.training import choose_device

_LEAST_MEMORY_GIB, _LEAST_FREE_GIB = 4.0, 5.0
_DRAWN, _SIZE_PIXELS, _PIXEL_MM = 8, 64, 150 / 64
_BUSY = 0.75
"""Programs at work, for each processor: beyond, they take turns with ours."""
_LONG_S = 1.0
"""Of a slice: beyond, a run that is minutes elsewhere takes an hour."""


def check_machine(out: Path) -> list[Check]:
    """Every check, in the order in which one would mend what they find. out: where runs are to lie."""
    checks: dict[str, Callable[[], Check]] = {
        "Python": check_python,
        "packages": check_packages,
        "processors": check_processors,
        "memory": check_memory,
        "GPU": check_device,
        "room": lambda: check_folder("room", out, "out"),
        "cache": lambda: check_folder("cache", cache_folder(), "CMRFED_CACHE"),
        "speed": check_speed,
    }
    return [_caught(what, check) for what, check in checks.items()]


def _caught(what: str, check: Callable[[], Check]) -> Check:
    """What a check found; one that cannot be made has found something to mend too."""
    try:
        return check()
    except (UserError, OSError) as error:
        return Check(what, "mend", str(error), "mend what it names")


def check_python() -> Check:
    """The interpreter and the system."""
    return Check("Python", "good", f"{platform.python_version()} on {platform.system()} {platform.machine()}")


def check_packages() -> Check:
    """That every package this one needs is there, in a version that it takes."""
    wrong = list(_unmet(importlib.metadata.requires("cmrfed") or []))
    shown = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("cmrfed", "torch", "monai", "flwr"))
    if wrong:
        return Check("packages", "mend", "; ".join(wrong), "pip install --upgrade cmrfed, in this environment")
    return Check("packages", "good", shown)


def _unmet(requirements: list[str]) -> Iterator[str]:
    for requirement in map(Requirement, requirements):
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            found = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            yield f"{requirement.name} is not installed"
            continue
        if not requirement.specifier.contains(found, prereleases=True):
            yield f"{requirement.name} is {found}, where {requirement.specifier} is needed"


def check_processors() -> Check:
    """How many there are, and the number formats that they are fast in."""
    features = torch.cpu.get_capabilities()
    fast = [name for name in ("avx2", "avx512_f", "avx512_bf16", "amx_bf16", "asimd", "sve") if features.get(name)]
    count, busy = len(os.sched_getaffinity(0)), psutil.getloadavg()[0]
    found = f"{count} for this process; {', '.join(fast) or 'no vector units known'}"
    if busy > _BUSY * count:
        return Check("processors", "look", f"{found}; {busy:.0f} busy programs", "let these end, or all takes longer")
    return Check("processors", "good", found)


def check_memory() -> Check:
    """That a process has what training and an evaluation need."""
    free = psutil.virtual_memory().available / 2**30
    if free < _LEAST_MEMORY_GIB:
        to_do = f"end other programs, or set comparison.jobs and sweep.jobs to 1: {_LEAST_MEMORY_GIB:g} GiB are needed"
        return Check("memory", "look", f"{free:.1f} GiB free", to_do)
    return Check("memory", "good", f"{free:.0f} GiB free")


def check_device() -> Check:
    """What generators train and draw on."""
    if not torch.cuda.is_available():
        return Check("GPU", "look", "none", "everything runs on processors; nothing must be done")
    bf16 = "bf16" if torch.cuda.is_bf16_supported() else "no bf16"
    memory_gib = torch.cuda.get_device_properties(0).total_memory / 2**30
    return Check("GPU", "good", f"{torch.cuda.get_device_name()}, {memory_gib:.0f} GiB, {bf16}")


def check_folder(what: str, folder: Path, key: str) -> Check:
    """That a folder can be written to, and has room."""
    path = output_folder(folder, key=key)
    free = shutil.disk_usage(next(one for one in (path, *path.parents) if one.exists())).free / 2**30
    if free < _LEAST_FREE_GIB:
        to_do = f"make room for {_LEAST_FREE_GIB:g} GiB, or set {key} to another folder"
        return Check(what, "mend", f"{free:.1f} GiB free for {path}", to_do)
    return Check(what, "good", f"{free:.0f} GiB free for {path}")


def check_speed() -> Check:
    """How fast the foundation draws here, on one processor or the GPU; with that, that it is there and computes."""
    torch.set_num_threads(1)  # as a site has it
    generator, _ = foundation_generator()
    asked = masks_alone(_discs(), columns(_DRAWN, {"phase": "ED"}), (8.0, _PIXEL_MM, _PIXEL_MM))
    device = choose_device("auto")
    synthesise(generator, asked, SamplingConfig(steps=1), 0, device.type)  # what is done once does not count
    began = time.perf_counter()
    drawn = synthesise(generator, asked, SamplingConfig(), 0, device.type)
    slice_s = (time.perf_counter() - began) / _DRAWN
    if not np.isfinite(np.asarray(drawn.images)).all():
        to_do = "set training.precision=fp32 in every command, and report it with this page"
        return Check("speed", "mend", "the foundation's images hold what is no number", to_do)
    found = f"the foundation draws a slice in {slice_s:.2g} s on {device.type}"
    return Check("speed", "good", found) if slice_s < _LONG_S else Check("speed", "look", found, "runs take hours here")


def _discs() -> np.ndarray:
    """Masks of a left ventricle alone."""
    rows, columns = np.mgrid[:_SIZE_PIXELS, :_SIZE_PIXELS] - _SIZE_PIXELS / 2
    radius = np.hypot(rows, columns)
    mask = np.where(radius < 10, Label.LV, np.where(radius < 14, Label.MYO, 0)).astype(np.uint8)
    return np.repeat(mask[None], _DRAWN, axis=0)
