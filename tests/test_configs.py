"""Every option that is offered is one that the code takes."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from cmrfed.config import RunConfig, read_stage

CONFIGS = Path(__file__).parents[1] / "configs"
OF_A_RUN = {
    path.parent.name
    for path in CONFIGS.glob("*/*.yaml")
    if path.parent.name in RunConfig.model_fields or path.parent.name == "experiment"
}
OPTIONS = sorted((path.parent.name, path.stem) for group in OF_A_RUN for path in (CONFIGS / group).glob("*.yaml"))


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_a_run_can_be_made_from_every_option_of_every_group(group, option, monkeypatch):
    monkeypatch.setenv("CMRFED_DATA", "/data")
    overrides = [f"{group}={option}", "data.root=/data"]
    with initialize_config_dir(config_dir=str(CONFIGS), version_base="1.3"):
        values = OmegaConf.to_container(compose("simulate", overrides), resolve=True)
    read_stage(RunConfig, {key: value for key, value in values.items() if key in RunConfig.model_fields})
