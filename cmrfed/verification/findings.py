"""What verification says of one file, patient or site."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One line that begins with the file or data set at fault and ends with what to do; `kind` groups alike lines."""

    kind: str
    line: str
