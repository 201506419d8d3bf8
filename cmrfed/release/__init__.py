"""A trained generator -> a folder that can be given away: weights, model card, data sheet, terms of use.

`policy` decides whether it may be, from the plan, the ledgers and the measured leakage; `documents` writes what goes
with it. A release is refused, with every reason, rather than written with a warning.
"""

from pathlib import Path

from cmrfed.config import ReleasePolicy, UserError
from cmrfed.core import atomic
from cmrfed.release.documents import documents
from cmrfed.release.policy import reasons_against
from cmrfed.report.material import Material
from cmrfed.report.share import write_bare_model

__all__ = ["ReleasePolicy", "reasons_against", "release"]


def release(material: Material, policy: ReleasePolicy, out: Path) -> Path:
    """Write the release of the run's own arm to the new folder `out`, whole or not at all; returns it.

    Raises UserError with every reason when the policy forbids it, and when `out` exists.
    """
    out = out.expanduser().resolve()
    if out.exists():
        raise UserError(f"{out}: exists; give a new folder, for a release is never written over another")
    if reasons := reasons_against(material, policy):
        raise UserError(f"{material.run.folder}: must not be released: {'; '.join(reasons)}")
    with atomic.new_folder(out, mode=0o755) as draft:
        write_bare_model(material, draft / "model.safetensors")
        for name, text in documents(material, policy).items():
            atomic.write_text(draft / name, text)
    return out
