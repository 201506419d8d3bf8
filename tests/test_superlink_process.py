"""A coordinator's SuperLink loses no answer because many come at once."""

import threading
import time

import pytest
from flwr.supercore import sql_mixin
from flwr.supercore.sql_mixin import SqlMixin
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from cmrfed.apps.server import superlink_process
from cmrfed.apps.server.superlink_process import PATIENCE_S, be_patient


def database(folder):
    """As Flower opens its own, with a table."""
    opened = SqlMixin(str(folder / "superlink.db"))
    opened.initialize()
    with opened.session() as session:
        session.execute(text("CREATE TABLE IF NOT EXISTS waiting (content BLOB)"))
    return opened


@pytest.fixture
def pragmas(monkeypatch):
    monkeypatch.setattr(sql_mixin, "SQLITE_PRAGMAS", sql_mixin.SQLITE_PRAGMAS)


def written_while_another_writes(folder, held_s):
    first, second, begun = database(folder), database(folder), threading.Event()

    def hold():
        with first.session() as session:
            session.execute(text("INSERT INTO waiting VALUES ('long')"))
            begun.set()
            time.sleep(held_s)

    writer = threading.Thread(target=hold)
    writer.start()
    assert begun.wait(60)
    try:
        with second.session() as session:
            session.execute(text("INSERT INTO waiting VALUES ('short')"))
    finally:
        writer.join()


def test_a_request_waits_for_its_turn_to_write_as_long_as_it_takes(tmp_path, pragmas, monkeypatch):
    monkeypatch.setattr(superlink_process, "PATIENCE_S", 0)
    be_patient()
    with pytest.raises(OperationalError, match="database is locked"):
        written_while_another_writes(tmp_path, held_s=0.5)
    monkeypatch.setattr(superlink_process, "PATIENCE_S", PATIENCE_S)
    be_patient()
    written_while_another_writes(tmp_path, held_s=0.5)


def test_all_else_of_flowers_settings_stays(pragmas):
    before = dict(sql_mixin.SQLITE_PRAGMAS)
    be_patient()
    assert dict(sql_mixin.SQLITE_PRAGMAS) == before | {"busy_timeout": "120000"}
    assert int(before["busy_timeout"]) < 120_000, "Flower waits as long by itself: this module can go"
