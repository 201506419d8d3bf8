import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from cmrfed.arrays import ArraysWriter, Rows, map_arrays, take_rows

IMAGES = {"images": (np.dtype("<f4"), (4, 3)), "numbers": (np.dtype("<i8"), ())}


def written(path: Path, pieces: list[np.ndarray]) -> Path:
    with ArraysWriter(path, IMAGES) as writer:
        for piece in pieces:
            writer.add("images", piece)
            writer.add("numbers", np.arange(len(piece)))
        writer.close({"made": "of pieces"})
    return path


def pieces() -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.normal(size=(count, 4, 3)).astype(np.float32) for count in (2, 0, 5)]


def test_what_was_written_in_pieces_is_plain_safetensors(tmp_path: Path) -> None:
    found = load_file(written(tmp_path / "file", pieces()))
    np.testing.assert_array_equal(found["images"], np.concatenate(pieces()))
    np.testing.assert_array_equal(found["numbers"], [0, 1, 0, 1, 2, 3, 4])


def test_arrays_are_mapped_and_not_read(tmp_path: Path) -> None:
    arrays, metadata = map_arrays(written(tmp_path / "file", pieces()))
    assert isinstance(arrays["images"], np.memmap) and not arrays["images"].flags.writeable
    np.testing.assert_array_equal(arrays["images"], np.concatenate(pieces()))
    assert metadata == {"made": "of pieces"}


def test_rows_of_rows_read_as_the_array_s_own(tmp_path: Path) -> None:
    arrays, _ = map_arrays(written(tmp_path / "file", pieces()))
    whole = np.concatenate(pieces())
    some = take_rows(take_rows(arrays["images"], np.array([6, 1, 3])), np.array([2, 0]))
    assert isinstance(some, Rows) and len(some) == 2 and some.shape == (2, 4, 3)
    np.testing.assert_array_equal(np.asarray(some), whole[[3, 6]])
    np.testing.assert_array_equal(some[1], whole[6])
    np.testing.assert_array_equal(some[np.array([1, 1])], whole[[6, 6]])


def test_rows_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with ArraysWriter(tmp_path / "file", IMAGES) as writer, pytest.raises(ValueError, match="images: rows of"):
        writer.add("images", np.zeros((1, 4, 4), np.float32))


def test_a_writer_that_breaks_off_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), ArraysWriter(tmp_path / "file", IMAGES) as writer:
        writer.add("images", pieces()[0])
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_file_cut_short_anywhere_is_refused(tmp_path: Path) -> None:
    whole = written(tmp_path / "whole", pieces()).read_bytes()
    for length in range(0, len(whole), 13):
        (tmp_path / "cut").write_bytes(whole[:length])
        with pytest.raises(Exception, match=r".") as caught:
            map_arrays(tmp_path / "cut")
        assert type(caught.value).__name__ in ("SafetensorError", "ValueError", "KeyError")


HERE = Path(__file__).parent
_WRITE = """
import numpy as np, sys
from pathlib import Path
from cmrfed.arrays import ArraysWriter, map_arrays, take_rows
path = Path(sys.argv[1])
piece = np.ones((20, 64, 64), np.float32)
with ArraysWriter(path, {"images": (piece.dtype, (64, 64))}) as writer:
    for _ in range(int(sys.argv[2])):
        writer.add("images", piece)
    writer.close({})
images = map_arrays(path)[0]["images"]
part = take_rows(images, np.arange(0, len(images), 2))
assert part[np.arange(8)].sum() == 8 * 64 * 64
from peak_memory import peak_mib
print(peak_mib())
"""


def peak_mib(path: Path, patients: int) -> float:
    done = subprocess.run(
        [sys.executable, "-c", _WRITE, path, str(patients)], cwd=HERE, capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def test_memory_does_not_grow_with_the_number_of_patients(tmp_path: Path) -> None:
    few, many = peak_mib(tmp_path / "few", 10), peak_mib(tmp_path / "many", 1000)
    assert (tmp_path / "many").stat().st_size > 300 * 1024**2
    assert many < few + 40


def test_the_file_and_a_folder_made_for_it_are_their_owners_alone_to_read(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        path = written(tmp_path / "home" / "file", pieces())
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
