"""Commands about volumes on disk: data verify, preview and phantom."""

import json
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cmrfed import __version__
from cmrfed.cli.stages import DataPhantom, DataPreview, DataVerify
from cmrfed.config import PhantomConfig, Scanner
from cmrfed.console import console, progress_bar, safe_text
from cmrfed.core import atomic
from cmrfed.outputs import output_file, output_folder, writing

if TYPE_CHECKING:  # reading volumes needs torch, for which help does not wait
    from cmrfed.verification import Finding, Verification

_PIPED_WIDTH = 100
"""Columns of a table that goes to a file or another program, which do not say how wide they are."""


def verify(config: DataVerify) -> None:
    out = output_file(config.out, (".json",), _is_record) if config.out else None
    from cmrfed.verification import find_patients, find_sources
    from cmrfed.verification import verify as read

    sources = find_sources(config.data)
    patients = find_patients(sources)
    with progress_bar("reading patients") as progress:
        found = read(patients, progress, config.workers)
    record = _record(found, sources, config)
    for table in _tables(record["sites"], config.by):
        _show(table)
    _print_findings("problems", found.problems, len(found.problems))
    _print_findings("warnings", found.warnings, config.lines)
    if out:
        with writing(out):
            atomic.write_text(out, json.dumps(record, indent=2) + "\n")
        console.print(f"all of this, machine-readably: {out}", soft_wrap=True, markup=False)
    counts = [(found.number_of_patients, "patient"), (len(found.problems), "problem"), (len(found.warnings), "warning")]
    read_, problems, warnings = (f"{count} {noun}{'' if count == 1 else 's'}" for count, noun in counts)
    console.print(f"{read_} read, {problems}, {warnings}", style="red" if found.problems else "green")
    if found.problems:
        sys.exit(1)


def preview(config: DataPreview) -> None:
    from cmrfed.contact_sheet import FOOTER, draw_patients, errors_in, is_sheet, make_blocks, write_sheet
    from cmrfed.verification import find_patients, find_sources

    out = output_file(config.out, (".png",), is_sheet)
    sources = find_sources(config.data)
    found = find_patients(sources)
    if not found.patients:
        raise found.errors[0]
    drawn = draw_patients(found.patients, config.patients, config.seed)
    with progress_bar("reading and preparing patients") as progress:
        prepared = config.preprocessing if config.prepared else None
        blocks = make_blocks(drawn, config.slices, prepared, config.names, progress)
    panels = write_sheet(out, blocks)
    for error in errors_in(blocks):
        console.print(safe_text(f"left out: {error}"), style="yellow", soft_wrap=True)
    console.print(f"{panels} panels of {sum(map(len, drawn.values()))} patients: {out}", soft_wrap=True, markup=False)
    if set(sources) != {"phantom"}:
        console.print(FOOTER, style="yellow")


def phantom(config: DataPhantom) -> None:
    from cmrfed.phantom import write_phantom

    out = output_folder(config.out)
    vendors = get_args(Scanner) if "any" in config.vendor else tuple(dict.fromkeys(config.vendor))
    order = PhantomConfig(patients_per_vendor=config.patients, vendors=vendors, seed=config.seed)
    with progress_bar("imaging phantom patients") as progress:
        write_phantom(out, order, progress)
    patients = config.patients * len(order.vendors)
    console.print(f"{patients} phantom patients in {out}", soft_wrap=True, markup=False)
    console.print(f"next: cmrfed data verify {_quoted(out)}", soft_wrap=True, markup=False)


def _quoted(path: Path) -> str:
    import shlex

    return shlex.quote(str(path))


def _record(found: "Verification", sources: Mapping[str, Path], config: DataVerify) -> dict[str, Any]:
    """All that was found: the tables are printed from this."""
    return {
        "verified_by": f"cmrfed {__version__}",
        "sources": {name: str(folder) for name, folder in sources.items()},
        "by": list(config.by),
        "patients": found.number_of_patients,
        "stacks": len(found.stacks),
        "slices": found.number_of_slices,
        "sites": [asdict(site) for site in found.sites(config.by)],
        "problems": [asdict(finding) for finding in found.problems],
        "warnings": [asdict(finding) for finding in found.warnings],
    }


def _tables(sites: list[dict[str, Any]], by: tuple[str, ...]) -> list[Table]:
    """What there is, how it is stored, and what the hearts measure; nothing where nothing could be read."""
    return [_table_of_patients(sites, by), _table_of_grids(sites), _table_of_hearts(sites)] if sites else []


def _table_of_patients(sites: list[dict[str, Any]], by: tuple[str, ...]) -> Table:
    table = _table("Patients and labels")
    table.add_column("site", overflow="fold")
    for column in ("patients", "stacks", "slices"):
        table.add_column(column, justify="right")
    if "vendor" not in by:
        table.add_column("vendors", overflow="fold")
    for column in ("phases", "labels in stacks", "not labelled", "pathologies"):
        table.add_column(column, overflow="fold")
    for site in sites:
        vendors = [_counts(site["vendors"])] if "vendor" not in by else []
        table.add_row(
            _name(site),
            *(str(site[key]) for key in ("patients", "stacks", "slices")),
            *vendors,
            _counts(site["phases"]),
            _labels(site),
            _not_labelled(site),
            _counts(site["pathologies"]),
        )
    return table


def _table_of_grids(sites: list[dict[str, Any]]) -> Table:
    table = _table("Grids and intensities: median (lowest to highest)")
    table.add_column("site", overflow="fold")
    for column in ("in plane, mm", "slice, mm", "slices", "matrix", "stored axes, turned", "mask's place"):
        table.add_column(column, overflow="fold")
    table.add_column("intensity: lowest,\nmedian 99th %, highest")
    for site in sites:
        table.add_row(
            _name(site),
            *(_range(site[key]).replace(" (", "\n(") for key in ("in_plane_mm", "slice_mm", "slices_a_stack")),
            _commonest(site["matrices"]),
            _commonest(site["stored_as"]).append("\n").append_text(_commonest(site["turned"])),
            _place_of_masks(site),
            ", ".join(f"{value:.4g}" for value in site["intensity"]),
        )
    return table


def _table_of_hearts(sites: list[dict[str, Any]]) -> Table:
    table = _table("Hearts: median (lowest to highest)")
    table.add_column("site", overflow="fold")
    for column in ("LV at ED, mL", "LV ejected, %", "RV at ED, mL", "RV ejected, %", "LV mass, g"):
        table.add_column(column)
    for site in sites:
        table.add_row(
            _name(site),
            _range(site["lv_edv_ml"], digits=0),
            _range(site["lv_ejection_fraction"], 100.0, 0),
            _range(site["rv_edv_ml"], digits=0),
            _range(site["rv_ejection_fraction"], 100.0, 0),
            _range(site["lv_mass_g"], digits=0),
        )
    return table


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)


def _show(table: Table) -> None:
    wide = console.is_terminal or console.width >= _PIPED_WIDTH
    (console if wide else Console(highlight=False, width=_PIPED_WIDTH)).print(table)
    console.print()


def _name(site: dict[str, Any]) -> Text:
    """One line a field; a centre may be a bare number, and "unknown" alone would not tell what is."""
    fields = site["site"].items()
    return safe_text(
        "\n".join(f"{key} {value}" if key == "centre" or value == "unknown" else value for key, value in fields)
    )


def _counts(counted: Mapping[str, int]) -> Text:
    return safe_text(", ".join(f"{name} {count}" for name, count in counted.items()))


def _commonest(counted: Mapping[str, int]) -> Text:
    first, *others = counted
    return safe_text(f"{first}\nor {len(others)} other{'s' if len(others) > 1 else ''}" if others else first)


def _labels(site: dict[str, Any]) -> str:
    labelled = site["stacks"] - site["unlabelled_stacks"]
    if not labelled:
        return "none"
    return " ".join(name if count == labelled else f"{name} ({count})" for name, count in site["labels"].items())


def _not_labelled(site: dict[str, Any]) -> str:
    parts = [f"{site['unlabelled_stacks']} stacks"] if site["unlabelled_stacks"] else []
    parts += [f"{site['unlabelled']:.1%} of voxels"] if site["unlabelled"] else []
    return ", ".join(parts) or "none"


def _place_of_masks(site: dict[str, Any]) -> str:
    if site["mask_elsewhere"]:
        return f"{site['mask_elsewhere']} elsewhere"
    return "as image" if site["mask_in_place"] else "-"


def _range(values: tuple[float, float, float] | None, factor: float = 1.0, digits: int | None = None) -> str:
    """`digits` after the point; None for three significant ones."""
    if values is None:
        return "-"
    low, median, high = (
        f"{value * factor:.3g}" if digits is None else f"{value * factor:.{digits}f}" for value in values
    )
    return median if low == high else f"{median} ({low} to {high})"


def _print_findings(title: str, findings: "Iterable[Finding]", lines: int) -> None:
    """A line each, at most `lines` of one kind."""
    findings = list(findings)
    if not findings:
        return
    counts = Counter(finding.kind for finding in findings)
    console.print(title, style="bold")
    for kind, count in counts.items():
        console.print(f"  {kind} ({count})", markup=False)
        for finding in [finding for finding in findings if finding.kind == kind][:lines]:
            console.print(Text("    ").append_text(safe_text(finding.line)), soft_wrap=True)
        if count > lines:
            console.print(
                f"    and {count - lines} more; lines={count} shows all, out=FILE.json keeps them", markup=False
            )
    console.print()


def _is_record(path: Path) -> bool:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(found, dict) and "verified_by" in found
