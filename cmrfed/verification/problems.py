"""What stops `cmrfed prepare`, or breaks its promise that every patient counts as one."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import combinations
from pathlib import Path

from cmrfed.verification.facts import StackFacts
from cmrfed.verification.findings import Finding


def unreadable(error: Exception) -> Finding:
    """A reader's own line, which begins with the file."""
    return Finding("cannot be used", str(error))


def reader_failed(path: Path, error: Exception) -> Finding:
    """An error that no reader foresaw."""
    told = " ".join(f"{type(error).__name__} {error}".split())[:200]
    return Finding("cannot be used", f"{path}: the reader failed on it ({told}); set it aside and report this")


def problems_among(stacks: Iterable[StackFacts]) -> Iterator[Finding]:
    """What is wrong with stacks that were read, alone or together."""
    stacks = list(stacks)
    for stack in stacks:
        yield from _of(stack)
    yield from _twice(stacks)


def _of(stack: StackFacts) -> Iterator[Finding]:
    if not any(stack.voxels.values()) and stack.unlabelled == 0:
        yield Finding(
            "empty mask",
            f"{stack.mask_path}: the mask at {stack.phase} shows no structure; restore the segmentation or remove the "
            "patient",
        )
    if stack.intensity[0] == stack.intensity[3]:
        yield Finding(
            "constant image",
            f"{stack.image_path}: every voxel at {stack.phase} is {stack.intensity[0]:g}; export the image again",
        )


def _twice(stacks: list[StackFacts]) -> Iterator[Finding]:
    """One patient under two names would count as two, and be promised the privacy of neither."""
    told: set[tuple[str, str]] = set()
    for what in ("image", "mask"):
        alike: defaultdict[str | None, list[StackFacts]] = defaultdict(list)
        for stack in stacks:
            if stack.intensity[0] < stack.intensity[3]:  # empty frames are alike in everybody
                alike[getattr(stack, f"{what}_hash")].append(stack)
        alike.pop(None, None)
        for same in alike.values():
            for first, second in combinations(same, 2):
                pair = (first.patient, second.patient)
                if first.patient != second.patient and pair not in told:
                    told.add(pair)
                    yield Finding("one patient twice", _both(first, second, what))


def _both(first: StackFacts, second: StackFacts, what: str) -> str:
    path = {"image": second.image_path, "mask": second.mask_path}[what]
    other = {"image": first.image_path, "mask": first.mask_path}[what]
    return (
        f"{path}: the {what} at {second.phase} is voxel for voxel that of {first.patient} at {first.phase} ({other}); "
        f"one patient has two names: keep one of {first.patient} and {second.patient}"
    )
