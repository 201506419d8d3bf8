"""The apps under the names that Flower is given."""

import subprocess
import sys
import tomllib

from cmrfed import apps

COMPONENTS = tomllib.loads((apps.FOLDER / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["flwr"]["app"][
    "components"
]

# The first thread is held where `cmrfed.apps` asks where its packages are.
IN_TWO_THREADS = """
import importlib, os, sys, threading
from pathlib import Path

began, go_on = threading.Event(), threading.Event()
resolve = Path.resolve

def held(path, strict=False):
    if path.match("cmrfed/apps/__init__.py"):
        began.set()
        go_on.wait()
    return resolve(path, strict)

def load(name):
    try:
        importlib.import_module(name).app
    except BaseException as error:
        print(repr(error), file=sys.stderr, flush=True)
        os._exit(1)

Path.resolve = held
threads = [threading.Thread(target=load, args=(name,)) for name in sys.argv[1:]]
threads[0].start()
assert began.wait(60)
threads[1].start()
threads[1].join(1)
go_on.set()
for thread in threads:
    thread.join()
"""


def in_two_threads(*modules):
    return subprocess.run([sys.executable, "-c", IN_TWO_THREADS, *modules], capture_output=True, text=True, timeout=300)


def test_both_apps_can_be_loaded_at_once_as_a_simulation_does():
    modules = [reference.partition(":")[0] for reference in COMPONENTS.values()]
    loaded = in_two_threads(*modules)
    assert loaded.returncode == 0, loaded.stderr
    assert "No module named 'cmrfed.apps" in in_two_threads("cmrfed.apps.server.app", "cmrfed.apps.client.app").stderr
