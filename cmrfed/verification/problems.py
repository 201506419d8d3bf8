"""What stops `cmrfed prepare`, or breaks its promise that every patient counts as one."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from cmrfed.datasets.tables import NotOnDisk
from cmrfed.verification.facts import StackFacts
from cmrfed.verification.findings import Finding


def unreadable(error: Exception) -> Finding:
    """A reader's own line, which begins with the file."""
    return Finding("not on disk" if isinstance(error, NotOnDisk) else "cannot be used", str(error))


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
    yield from _copies(stacks)


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
    """One patient under two names would count as two, and be promised the privacy of neither.

    Each further name is told once, however many phases agree.
    """
    named_first: dict[str, str] = {}

    def first_name(patient: str) -> str:
        while patient in named_first:
            patient = named_first[patient]
        return patient

    for what in ("image", "mask"):
        seen: dict[str, StackFacts] = {}
        for stack in stacks:
            content = getattr(stack, f"{what}_hash")
            if content is None or stack.intensity[0] == stack.intensity[3]:  # empty frames are alike in everybody
                continue
            other = seen.setdefault(content, stack)
            one, two = first_name(other.patient), first_name(stack.patient)
            if one != two:
                named_first[two] = one
                yield Finding("one patient twice", _both(other, stack, what))


def _copies(stacks: list[StackFacts]) -> Iterator[Finding]:
    """A patient's image that is there again as another visit's."""
    seen: dict[tuple[str, str, str], StackFacts] = {}
    for stack in stacks:
        other = seen.setdefault((stack.patient, stack.phase, stack.image_hash), stack)
        if other is not stack:
            yield Finding(
                "one image twice",
                f"{stack.image_path}: the image at {stack.phase} is voxel for voxel that of {other.image_path}; a copy "
                "is no second visit: keep one",
            )


def _both(first: StackFacts, second: StackFacts, what: str) -> str:
    path = {"image": second.image_path, "mask": second.mask_path}[what]
    other = {"image": first.image_path, "mask": first.mask_path}[what]
    return (
        f"{path}: the {what} at {second.phase} is voxel for voxel that of {first.patient} at {first.phase} ({other}); "
        f"one patient has two names: keep one of {first.patient} and {second.patient}"
    )
