"""Every attack by the name it has in a report and in `evaluation.leakage.attacks`; each file says what its own are."""

from collections.abc import Mapping

from cmrfed import members
from cmrfed.evaluation.leakage.attacks.attack import Attack

ATTACKS: Mapping[str, Attack] = members.Loaded(members.ATTACKS)
