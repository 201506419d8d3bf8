"""Commands of a coordinator at work: server start, server stop, submit."""

from pathlib import Path

from cmrfed.cli.provision import admit_registered, coordinator_of
from cmrfed.cli.stages import ServerStart, ServerStop, Submit
from cmrfed.config import UserError
from cmrfed.console import console, say
from cmrfed.outputs import output_folder


def start(config: ServerStart) -> None:
    from cmrfed.apps.server.superlink import SuperLink, proxy_answers

    coordinator = coordinator_of(config)
    superlink = SuperLink(coordinator)
    with console.status("starting the SuperLink"):
        superlink.start()
    say(f"the SuperLink runs, on port {superlink.port} of this machine alone; it logs to {superlink.log}")
    admit_registered(coordinator)
    say(f"the server's certificate is valid until {coordinator.server_certificate.not_valid_after_utc:%Y-%m-%d}")
    if proxy_answers(coordinator):
        say(f"the proxy answers: sites reach {coordinator.description.superlink}")
    else:
        say(
            f"no proxy answers on port {coordinator.description.port}, so that no site can connect: start nginx with "
            f"{coordinator.server / 'nginx.conf'}, or reload it",
            style="yellow",
        )


def stop(config: ServerStop) -> None:
    from cmrfed.apps.server.superlink import SuperLink

    with console.status("stopping the SuperLink"):
        stopped = SuperLink(coordinator_of(config)).stop()
    say("stopped; runs that were at work go on with cmrfed submit resume=RUN" if stopped else "it did not run")


def submit(config: Submit) -> Path:
    from cmrfed import apps
    from cmrfed.apps.server.submission import SubmittedRun

    if config.resume:
        run = SubmittedRun(Path(config.resume))
        if config.stop:
            say("stopped; its whole rounds are kept" if run.stop() else "it was not at work")
            return run.folder
    else:
        if config.stop:
            raise UserError("stop: give the run that is to be stopped, as resume=FOLDER")
        folder = output_folder(config.out)
        run = SubmittedRun.lay_out(config.config, coordinator_of(config), config.sites, folder, config.name)
        say(f"run {run.record.name}, in {run.folder}")
    there = run.presence()
    if away := [site for site, is_there in there.items() if not is_there]:
        say(f"not connected yet: {', '.join(away)}", style="yellow")
    run.start(apps.FOLDER, config.membership_audit)
    if config.wait:
        run.follow()
        say(f"done: {run.arm.folder / 'model.safetensors'}")
    else:
        say(f"it runs at the server; to follow it: cmrfed submit resume={run.folder}")
    return run.folder
