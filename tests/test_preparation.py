"""Preparing once: the store is opened again only when it was made from the very same files in the very same way."""

import os
import shutil
from itertools import islice
from pathlib import Path

import damaged_data as damaged
import numpy as np
import pytest
from image_files import toy_cine, write_dicom_series
from refusals import refuses

from cmrfed.composition import compose_jobs, read_words
from cmrfed.config import DataConfig, PhantomConfig, PreprocessingConfig, RunConfig
from cmrfed.phantom import phantom_patient, write_phantom
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
def test_of_every_data_set_unlabelled_patients_can_be_asked_for(path: Path) -> None:
    given = read_words([f"data={path.stem}", "data.unlabelled=true", "data.root=."], RunConfig, None)
    (job,) = compose_jobs("simulate", RunConfig, given)
    assert job.config.data.unlabelled is True


@pytest.fixture
def changed(data: DataConfig, tmp_path: Path) -> tuple[DataConfig, list[Path]]:
    """A copy of the data to be changed, and its patients' folders."""
    root = shutil.copytree(Path(data.root) / "phantom", tmp_path / "changed")
    return DataConfig(root=str(root), sources={"phantom": "."}), damaged.patients_of(root)


def test_visits_are_prepared_as_one_patients_slices(changed: tuple[DataConfig, list[Path]], tmp_path: Path) -> None:
    data, (first, _) = changed
    once = Source.of(data, SMALL).slices(tmp_path / "once")
    damaged.add_visit(first)
    twice = Source.of(data, SMALL).slices(tmp_path / "twice")
    assert twice.patient_names == once.patient_names
    number = twice.patient_names.index(f"phantom-{first.name}")
    assert len(twice.of_patient(number)) > len(once.of_patient(number))
    assert len(twice.of_patient(1 - number)) == len(once.of_patient(1 - number))


def test_a_copy_of_a_patient_is_refused_before_it_is_trained_on_twice(
    changed: tuple[DataConfig, list[Path]], tmp_path: Path
) -> None:
    data, (first, _) = changed
    damaged.add_visit(first, brighter=0)
    with refuses(f"phantom-{first.name}", "keep one copy"):
        Source.of(data, SMALL).slices(tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_doubtful_names_and_patients_who_are_gone_are_printed_before_anything_is_prepared(
    changed: tuple[DataConfig, list[Path]], capsys: pytest.CaptureFixture[str]
) -> None:
    data, (first, second) = changed
    damaged.rename_patient(second, first.name.lower())
    damaged.edit_table(first.parents[3], lambda rows: [*rows, rows[0] | {"External code": "GONE"}])
    Source.of(data, SMALL)
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 2 and all(line.startswith("warning: ") for line in told)
    assert repr(first.name) in told[0] and repr(first.name.lower()) in told[0]
    assert "'GONE' has a row and no files" in told[1]


def test_of_many_doubts_a_few_are_printed_and_the_others_counted(
    changed: tuple[DataConfig, list[Path]], capsys: pytest.CaptureFixture[str]
) -> None:
    data, (first, _) = changed
    missing = [f"GONE{number}" for number in range(30)]
    damaged.edit_table(first.parents[3], lambda rows: [*rows, *(rows[0] | {"External code": name} for name in missing)])
    Source.of(data, SMALL)
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 11 and "20 more" in told[-1] and "data verify" in told[-1]


def test_names_that_are_in_order_say_nothing(data: DataConfig, capsys: pytest.CaptureFixture[str]) -> None:
    Source.of(data, SMALL)
    assert capsys.readouterr().err == ""


def test_a_changed_file_behind_a_link_makes_another_store(tmp_path: Path) -> None:
    write_dicom_series(tmp_path / "store", toy_cine()[0])
    (tmp_path / "data" / "P1").mkdir(parents=True)
    (tmp_path / "data" / "P1" / "series").symlink_to(tmp_path / "store")
    data = DataConfig(root=str(tmp_path / "data"), sources={"cine": "."}, unlabelled=True)
    before = Source.of(data, SMALL).key
    image = next((tmp_path / "store").iterdir())
    os.utime(image, ns=(0, image.stat().st_mtime_ns + 1))
    assert Source.of(data, SMALL).key != before
