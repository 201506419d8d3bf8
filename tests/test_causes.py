"""Of a log of Flower's, the one line that says why a run ended."""

import pytest
from flower_logs import LATE

from cmrfed.apps.server.causes import cause_of


@pytest.mark.parametrize(
    ("log", "cause"),
    [
        (
            LATE,
            "Exception: The current node timed out during startup. This could happen because the GCS has become over",
        ),
        (
            "KeyError: 1\n\nDuring handling of the above exception, another occurred:\ncmrfed.config.UserError: x: y",
            "cmrf",
        ),
        ("\x1b[31mValueError: first\x1b[0m\nValueError: second\nbye", "ValueError: second."),
        ("fine\nan error in line 3\nbye", "an error in line 3."),
        ("fine\nbye", "bye."),
        ("", "nothing was logged."),
    ],
)
def test_a_cause_is_what_came_first_in_the_last_chain_of_exceptions(log, cause):
    assert cause_of(log).startswith(cause)
