"""What every refusal of bad input must look like."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from cmrfed.config import UserError


@contextmanager
def refuses(*words: object) -> Iterator[None]:
    """The block raises a UserError of exactly one line that contains each of the words."""
    with pytest.raises(UserError) as caught:
        yield
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert str(word) in message
