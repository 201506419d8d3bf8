"""What is packed comes out as it went in, and anything else is refused before it is looked at."""

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmrfed.core.packing import npy, pack, unpack, unpack_arrays

scalars = st.text() | st.binary() | st.floats(allow_nan=False) | st.integers(-(2**63), 2**63 - 1)


@given(st.dictionaries(st.text(), scalars))
def test_values_come_out_as_they_went_in(values):
    assert unpack(pack(values)) == values


@given(st.binary(max_size=60))
def test_of_other_bytes_nothing_is_read_or_a_map_by_name(data):
    with suppress(ValueError):
        assert all(isinstance(name, str) for name in unpack(data))


@given(st.dictionaries(st.text(), st.binary()), st.text(), st.text() | st.floats() | st.none())
def test_among_arrays_nothing_else_is_taken(arrays, name, other):
    assert unpack_arrays(pack(arrays)) == arrays
    with pytest.raises(ValueError, match="no array"):
        unpack_arrays(pack(arrays | {name: other}))


def test_an_array_is_written_as_numpy_reads_it(tmp_path):
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    (tmp_path / "a.npy").write_bytes(npy(array))
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), array)
