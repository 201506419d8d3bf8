"""A message is plain values within bounds, or it is refused in one line."""

import pickle

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from refusals import refuses

from cmrfed.config import UserError
from cmrfed.core.packing import npy
from cmrfed.door import REFUSED, Answer, Question, refusal
from cmrfed.door.answering import decoded
from cmrfed.door.messages import packed, unpacked

names = st.text(min_size=1, max_size=10)
questions = st.builds(
    Question,
    action=names,
    documents=st.dictionaries(names, st.text(max_size=50), max_size=3),
    arrays=st.dictionaries(names, st.binary(max_size=50), max_size=3),
)
answers = st.builds(
    Answer,
    notes=st.dictionaries(names, st.text(max_size=20) | st.floats(allow_nan=False), max_size=3),
    record=st.text(max_size=10),
    arrays=st.dictionaries(names, st.binary(max_size=50), max_size=3),
)


@given(questions | answers)
def test_a_message_comes_out_as_it_went_in(message):
    assert unpacked(type(message), packed(message)) == message


@given(st.binary(max_size=300))
def test_any_other_bytes_are_refused_in_one_line(data):
    try:
        unpacked(Question, data)
    except UserError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    "value",
    [
        [1, 2],
        {"action": ["train"]},
        {"action": "train", "documents": {"request": 7}},
        {"action": "train", "arrays": {"weights": {"a": b""}}},
        {"action": "train", "code": "import os"},
        {1: "train"},
        msgpack.ExtType(5, b"code"),
    ],
)
def test_what_is_no_question_is_refused(value):
    with refuses("message to this site"):
        unpacked(Question, msgpack.packb(value))


def test_a_pickle_is_no_message():
    with refuses("malformed"):
        unpacked(Question, pickle.dumps({"action": "train"}))


def test_twenty_thousand_levels_are_refused():
    with refuses("malformed"):
        unpacked(Question, b"\x81\xa1a" * 20_000 + b"\xc0")


def test_a_refusal_says_one_constant_and_a_name():
    assert refusal("here").notes == {"refused": REFUSED, "site": "here"}
    assert refusal().notes == {"refused": REFUSED}
    assert refusal().refused and not Answer().refused


@given(st.sampled_from(["float32", "uint32"]), st.lists(st.integers(0, 3), max_size=3))
def test_an_array_comes_out_as_it_went_in(dtype, shape):
    array = np.arange(np.prod(shape, dtype=int), dtype=dtype).reshape(shape)
    found = decoded(npy(array), "a")
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize("array", [np.array([object()]), np.array(["text"]), np.array([(1, 2.0)], dtype="i4,f4")])
def test_an_array_of_anything_but_numbers_is_refused(array):
    import io

    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    with refuses("a: "):
        decoded(buffer.getvalue(), "a")


@pytest.mark.parametrize("claimed", [b"(10000000000000,)", b"(-4,)", b"(3,)", b"(1,1)", b"((((1,),),),)", b"None"])
def test_a_header_that_claims_other_numbers_than_come_is_refused_and_nothing_is_allocated(claimed):
    honest = npy(np.zeros(2, "float32"))
    forged = honest.replace(b"(2,), }" + b" " * (len(claimed) - 4), claimed + b", }")
    assert len(forged) == len(honest) and forged != honest
    with refuses("a: "):
        decoded(forged, "a")
