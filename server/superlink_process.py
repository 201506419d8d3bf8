"""Flower's SuperLink as coordinators run it: `python -m cmrfed.apps.server.superlink_process OPTIONS`, its own options.

It keeps messages in SQLite, where one request writes at a time, and gives up on a request that has waited for five
seconds. Where some twenty sites answer at once, with megabytes each, requests wait for longer: their answers were lost,
and the round waited for them. Here they are waited for.
"""

from flwr.supercore import sql_mixin
from flwr.superlink.cli.flower_superlink import flower_superlink

PATIENCE_S = 120


def be_patient() -> None:
    """Have this process's databases wait as long for their turn to write."""
    own = {"busy_timeout": str(PATIENCE_S * 1000)}
    pragmas = {**dict(sql_mixin.SQLITE_PRAGMAS), **own}
    sql_mixin.SQLITE_PRAGMAS = tuple(pragmas.items())  # type: ignore[assignment]  # declared with its length


if __name__ == "__main__":
    be_patient()
    flower_superlink()
