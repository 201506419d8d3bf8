"""results.json of a run, read again."""

from pathlib import Path

from pydantic import ValidationError

from cmrfed.config import UserError, not_readable
from cmrfed.evaluation.schema import Results


def read_results(folder: Path) -> Results:
    """What was measured of the run in that folder. Raises UserError where nothing was, or the file is another."""
    path = folder / "results.json"
    try:
        return Results.model_validate_json(path.read_bytes())
    except OSError as error:
        otherwise = f"{path}: is missing; run `cmrfed evaluate run={folder}` first"
        raise not_readable(path, error, otherwise) from None
    except ValidationError as error:
        first = error.errors()[0]
        reason = ": ".join([".".join(map(str, first["loc"])), first["msg"]] if first["loc"] else [first["msg"]])
        raise UserError(f"{path}: is not a run's results ({reason}); run `cmrfed evaluate` again") from None
