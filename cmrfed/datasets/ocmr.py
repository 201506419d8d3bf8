"""OCMR: raw k-space of cardiac cines of volunteers on Siemens scanners; unlabelled.

Chen et al., "OCMR (v1.0): Open-Access Multi-Coil k-Space Dataset for Cardiovascular Magnetic Resonance Imaging",
arXiv:2008.03410, 2020. No true file was at hand; the table is that of the public repository MRIOSU/OCMR, and the raw
data is read as its example does. Which way the images face was not checked against a true file.

    ocmr_data_attributes.csv     file name; smp: fs is fully sampled; viw: sax is short-axis; sli: stk is a stack of
                                 slices; ends with rows of commas, one column has no name
    **/fs_0012_3T.h5             ISMRMRD

Read are fully sampled short-axis stacks. Single slices are left out: one volunteer gave several, the table does not
say who, and the patient is what privacy protects. Needs the extra `ocmr`.
"""

import logging
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from cmrfed.config import UserError
from cmrfed.datasets.tables import each_patient, read_table
from cmrfed.volumes import FIND, Entry
from cmrfed.volumes.trees import files_under

TABLE = "ocmr_data_attributes.csv"
COLUMNS = ("file name", "smp", "viw", "sli")

_log = logging.getLogger(__name__)


def entries(root: Path, dataset: str, unlabelled: bool) -> Iterator[Entry | UserError]:
    """ED and ES of every fully sampled short-axis stack anywhere under `root`, which holds the table, if `unlabelled`.

    Raises UserError when the table cannot be read. Wrong is a file on disk that is not in it.
    """
    table = read_table(root / TABLE, COLUMNS)
    files = sorted(path for path in files_under(root) if path.name.startswith("fs_") and path.suffix == ".h5")
    stacks = [path for path in files if path.name not in table or _is_stack(table[path.name])]
    _log.info("%s: %d of %d files are short-axis stacks", root, len(stacks), len(files))
    if unlabelled:
        yield from each_patient(partial(_file_entries, known=frozenset(table), dataset=dataset), stacks)


def recognises(root: Path) -> bool:
    """Whether the table lies there."""
    return (root / TABLE).is_file()


def _is_stack(row: dict[str, str]) -> bool:
    return (row["smp"], row["viw"], row["sli"]) == ("fs", "sax", "stk")


def _file_entries(path: Path, known: frozenset[str], dataset: str) -> Iterator[Entry]:
    if path.name not in known:
        raise UserError(f"{path}: is not in {TABLE}; add its row or remove the file")
    for phase in ("ED", "ES"):
        yield Entry(
            image_path=path,
            mask_path=None,
            labels={},
            frame=FIND,
            patient=f"{dataset}-{path.stem}",
            dataset=dataset,
            vendor="Siemens",
            centre="OCMR",
            phase=phase,
        )
