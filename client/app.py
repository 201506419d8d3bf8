"""The site's Flower app: turns a message into a request to `cmrfed.site` and its answer into a reply. Nothing else."""

from pathlib import Path

import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from omegaconf import OmegaConf

from cmrfed.config import UserError, read_stage, read_stage_json_text
from cmrfed.site import Request, SitePolicy, answer

app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    """Answer one round's request with an update, or say why not; a refusal is an answer too."""
    home, number = _home(context)
    policy = read_stage(SitePolicy, OmegaConf.load(home / "site.yaml"), where=str(home / "site.yaml"))
    try:
        request = read_stage_json_text(Request, str(message.content["request"]["json"]), where="the server's request")
        request = request.for_site(number)
        torch.set_num_threads(request.task.training.threads)
        weights = {name: array.numpy() for name, array in message.content["weights"].items()}
        run = answer(home, policy, request, weights)
    except UserError as refusal:
        return _reply(message, {"site": policy.name, "refused": str(refusal)})
    notes = {"site": policy.name} | ({} if run.loss is None else {"loss": run.loss})
    return _reply(message, notes, ArrayRecord({name: Array(array) for name, array in run.update.items()}))


def _home(context: Context) -> tuple[Path, int]:
    """The site's home folder and number: from the node's own configuration, or one of a simulated run's sites."""
    if "home" in context.node_config:
        return Path(str(context.node_config["home"])), 0
    number = int(context.node_config["partition-id"])
    homes = sorted(Path(str(context.run_config["arm"])).parents[1].glob("sites/*/site.yaml"))
    return homes[number].parent, number


def _reply(message: Message, notes: dict[str, str | float], update: ArrayRecord | None = None) -> Message:
    content = RecordDict({"answer": ConfigRecord(notes)})  # type: ignore[arg-type]
    if update is not None:
        content["update"] = update
    return Message(content, reply_to=message)
