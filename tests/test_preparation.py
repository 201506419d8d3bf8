"""Preparing once: the store is opened again only when it was made from the very same files in the very same way."""

import os
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import yaml

from cmrfed.config import DataConfig, PhantomConfig, PreprocessingConfig
from cmrfed.datasets.phantom import phantom_patient, write_phantom
from cmrfed.preparation import Source, phantom_slices, phantom_stream
from cmrfed.preprocessing import prepare
from cmrfed.slices import Slices, collect, fingerprint, source_of
from cmrfed.volumes import load_case

SMALL = PreprocessingConfig(size=16)
CONFIGS = Path(__file__).parents[1] / "configs" / "data"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DataConfig:
    root = tmp_path_factory.mktemp("data")
    write_phantom(root / "phantom", PhantomConfig(patients_per_vendor=2, vendors=("GE",)))
    return DataConfig(root=str(root), sources={"phantom": "phantom"})


@pytest.fixture
def no_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the store was not used")

    monkeypatch.setattr("cmrfed.preparation.map_in_order", refuse)


def test_the_store_holds_what_preparing_in_memory_gives(data: DataConfig, tmp_path: Path) -> None:
    source = Source.of(data, SMALL)
    stored = source.slices(tmp_path / "store")
    made = collect(prepare(load_case(entry), SMALL) for entry in source.entries)
    assert stored.records == made.records and fingerprint(stored) == fingerprint(made)
    assert isinstance(stored.images, np.memmap) and source_of(tmp_path / "store") == source.key


def test_a_second_start_opens_the_store(data: DataConfig, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    first = Source.of(data, SMALL).slices(tmp_path / "store")
    request.getfixturevalue("no_reading")
    again = Source.of(data, SMALL).slices(tmp_path / "store")
    assert fingerprint(again) == fingerprint(first)


def test_another_setting_or_a_file_that_was_touched_makes_another_store(data: DataConfig) -> None:
    source = Source.of(data, SMALL)
    assert Source.of(data, SMALL).key == source.key
    assert Source.of(data, PreprocessingConfig(size=16, percentiles=(2, 98))).key != source.key
    image = source.entries[0].image_path
    os.utime(image, ns=(0, image.stat().st_mtime_ns + 1))
    assert Source.of(data, SMALL).key != source.key


@pytest.mark.parametrize("damage", [b"", b"not slices", None])
def test_a_damaged_store_is_made_again(data: DataConfig, tmp_path: Path, damage: bytes | None) -> None:
    store, source = tmp_path / "store", Source.of(data, SMALL)
    whole = fingerprint(source.slices(store))
    store.write_bytes(store.read_bytes()[:-100] if damage is None else damage)
    assert fingerprint(source.slices(store)) == whole


def test_only_the_wanted_phases_are_read(data: DataConfig) -> None:
    source = Source.of(data, PreprocessingConfig(size=16, phases=("ES",)))
    assert {entry.phase for entry in source.entries} == {"ES"} and len(source.entries) == 2


def test_parts_of_a_store_stay_on_disk_and_are_saved_as_they_are(data: DataConfig, tmp_path: Path) -> None:
    stored = Source.of(data, SMALL).slices(tmp_path / "store")
    part = stored.subset(stored.patient_names[1:])
    assert not isinstance(part.images, np.ndarray)
    part.save(tmp_path / "site")
    assert fingerprint(Slices.load(tmp_path / "site")) == fingerprint(part)


def test_the_stream_never_shows_the_same_heart_twice_and_follows_the_seed() -> None:
    with_stream = phantom_stream(5, SMALL)
    hearts = list(islice(with_stream, 3))
    with_stream.close()
    assert len({fingerprint(heart) for heart in hearts}) == 3
    together = phantom_slices(3, 5, SMALL)
    np.testing.assert_array_equal(np.concatenate([heart.images for heart in hearts]), together.images)


def test_drawn_outlines_stray_by_the_stated_distance_and_images_do_not_change() -> None:
    exact = phantom_patient(0, seed=5)[0]
    stream = phantom_stream(5, PreprocessingConfig(size=128), label_noise_mm=1.0)
    drawn = next(stream)
    stream.close()
    plain = prepare(exact, PreprocessingConfig(size=128))
    ed = drawn.take(np.flatnonzero(drawn.stacks == 0))
    assert len(ed) == len(plain.image)
    heart, other = (np.asarray(mask) > 0 for mask in (plain.mask, ed.masks))
    changed_mm2 = np.count_nonzero(heart != other) * (150 / 128) ** 2
    edge_mm = np.count_nonzero(heart[:, 1:] != heart[:, :-1]) * (150 / 128) * np.pi / 2
    assert 0.3 < changed_mm2 / edge_mm < 1.5


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_data_set_s_file_says_whether_unlabelled_patients_come_too(path: Path) -> None:
    """Hydra refuses to set a key that the file does not have."""
    assert "unlabelled" in yaml.safe_load(path.read_text())
