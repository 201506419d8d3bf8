"""What every stage of the configuration is: frozen and validated. The numbers they are made of, and a user's errors."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Count = Annotated[int, Field(ge=1, le=10**9)]
Number = Annotated[int, Field(ge=0, le=10**9)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Decay = Annotated[float, Field(ge=0, lt=1)]


class UserError(Exception):
    """Something only the user can mend: one line that names the file or key, what was found and what to do.

    `exit_code` is what the command line then ends with.
    """

    exit_code = 2


class StoppedEarly(UserError):
    """A run that is whole but for some of its planned rounds, in `folder`. Its report is written, and says so too."""

    exit_code = 3

    def __init__(self, message: str, folder: Path) -> None:
        super().__init__(message)
        self.folder = folder


def not_readable(path: Path, error: BaseException, otherwise: str) -> UserError:
    """What to say of a file that could not be read: `otherwise`, unless the one thing wrong is who may read it."""
    if isinstance(error, PermissionError) or "(os error 13)" in str(error):  # as libraries written in Rust put it
        return UserError(f"{path}: this user may not read it (Permission denied); ask its owner, or chmod u+r")
    return UserError(otherwise)


class Stage(BaseModel):
    """A frozen, validated part of the configuration. Unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, defer_build=True)

    @classmethod
    def idle(cls, values: Mapping[str, Any]) -> frozenset[str]:
        """The fields that mean nothing beside these values of others, which help need not explain."""
        return frozenset()
