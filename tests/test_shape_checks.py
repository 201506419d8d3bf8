"""What the tests rely on: an array of a wrong shape, and a value of a wrong type, is an error wherever it is passed."""

from dataclasses import dataclass

import beartype
import numpy as np
import pytest
from beartype.roar import BeartypeCallHintViolation
from jaxtyping import Float
from shape_checks import checked

from cmrfed.evaluation.leakage.attacks.areas import auc_gain, auc_interval

Row = Float[np.ndarray, " column"]
check = checked(typechecker=beartype.beartype)
ONE, TWO = np.zeros(1), np.zeros(2)


@check
@dataclass
class Pair:
    one: Row
    other: Row


@check
@dataclass
class Named:
    name: str


def test_the_library_s_own_functions_are_checked():
    with pytest.raises(BeartypeCallHintViolation):
        auc_gain((np.zeros((2, 2)), TWO), (TWO, TWO))
    with pytest.raises(BeartypeCallHintViolation):
        auc_interval("half", 3, 3)


def test_axes_of_one_name_must_agree_among_arguments_and_result():
    @check
    def longer(one: Row, others: tuple[Row, Row] | None = None) -> Row:
        return np.append(one, 0.0)

    for arguments in ((ONE, (ONE, TWO)), (TWO,), (np.zeros(2, int),)):
        with pytest.raises(BeartypeCallHintViolation):
            longer(*arguments)


def test_fields_of_dataclasses_are_checked():
    Pair(ONE, ONE)
    with pytest.raises(BeartypeCallHintViolation):
        Pair(ONE, TWO)
    with pytest.raises(BeartypeCallHintViolation):
        Named(2)


def test_a_nested_function_without_arrays_is_left_alone_for_it_would_be_wrapped_at_every_call():
    def nested(number: int) -> int:
        return number

    assert check(nested) is nested
