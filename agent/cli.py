"""The commands. Each imports what it needs, so that `reflexd --help` is quick and the daemon stays small."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import click

from agent.benches.cli import bench
from agent.box import held_signals, logs
from agent.errors import ConfigError
from agent.field.cli import COMMANDS as FIELD_COMMANDS
from agent.modeltools.cli import model
from agent.options import config_beside, config_option, json_option
from agent.pool.cli import pool
from agent.rollout.cli import check, roll_command
from agent.tune.cli import tune
from agent.update.cli import COMMANDS as UPDATE_COMMANDS


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="reflexd")
@click.option("-v", "--verbose", is_flag=True, help="Log debug messages, too.")
@click.pass_context
def cli(context: click.Context, verbose: bool) -> None:
    """The reflex of machines: sense, decide and act in under 10 ms on the box beside the sensor."""
    if context.invoked_subcommand not in ("run", "actuate"):
        held_signals.release()
    logs.start(logging.DEBUG if verbose else logging.INFO)


def _log_in_background() -> None:
    click.get_current_context().call_on_close(logs.write_in_background())


@cli.command()
@config_option
@click.option("--samples", default=0, help="Stop after this many samples of each lane.")
@click.option("--seconds", default=0.0, help="Stop after this many seconds.")
@click.option("--scene", "name", help="Run a bundled scene, its actuators too, instead of a configuration.")
@click.option(
    "--data", type=click.Path(path_type=Path), help="With --scene: use these recordings, not simulated devices."
)
def run(path: Path, samples: int, seconds: float, name: str | None, data: Path | None) -> int:
    """Run the daemon: read sources, infer, decide, command actuators."""
    from agent import daemon
    from agent.config.load import load_config

    _log_in_background()
    if data and name is None:
        raise ConfigError(["--data goes with --scene: name the scene that uses these recordings"])
    if name is not None:
        from agent import demo

        held_signals.release()
        return demo.run_scene(name, data, seconds)
    held_signals.release(keep=held_signals.HELD)
    return daemon.run(load_config(path), path, samples, seconds)


@cli.command()
@config_beside("actuators")
@click.argument("actuators", nargs=-1)
def actuate(path: Path, actuators: tuple[str, ...]) -> int:
    """Host the actuator drivers of a configuration (all, or those named)."""
    from agent.box.signals import HostSignals
    from agent.build import make_host
    from agent.commands import host
    from agent.config.load import load_config

    _log_in_background()
    config = load_config(path)
    for name in actuators:
        if name not in config.actuators or config.actuators[name].device is None:
            raise ConfigError([f"{path}: no actuator '{name}' with a device"])
    bound = make_host(config, actuators)
    signals = HostSignals()  # until here SIGTERM and SIGINT end it at once: no device is open
    code = host.run(bound, signals, str(config.watchdog_device or ""))
    signals.finish()
    return code


@cli.command("replay")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--key", type=click.Path(path_type=Path), help="Secret key file, for a sealed event clip.")
@json_option
def replay_command(file: Path, key: Path | None, as_json: bool) -> int:
    """Compute every decision of a recording again and compare. Exit code 1 if one differs."""
    from agent.replay import cli as replay_cli

    return replay_cli.run(file, key, as_json)


@cli.command("schema")
def schema_command() -> None:
    """Print the JSON schema of the configuration, drivers' options included, for editors."""
    from agent.config import schema

    click.echo(json.dumps(schema.full(), indent=2))


@cli.command("keys")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--name", default="box", show_default=True, help="Name of the key files.")
@click.option("--web", is_flag=True, help="Make the certificate and the token of the live view instead.")
@click.option("--address", multiple=True, help="With --web: a name or an address under which browsers reach this box.")
@click.option(
    "--site", is_flag=True, help="Make certificates of a site's boxes instead; its authority stays in FOLDER."
)
@click.option("--box", multiple=True, help="With --site: `node` of a box that is to have one.")
@json_option
def keys_command(
    folder: Path, name: str, web: bool, address: tuple[str, ...], site: bool, box: tuple[str, ...], as_json: bool
) -> None:
    """Make the CURVE keys of this box in FOLDER; with --web, what the live view needs beyond this box.

    With --site, for each --box a folder with its certificate, which goes onto that box and nowhere else.
    """
    if site != bool(box):
        raise click.UsageError("--site and --box NAME go together")
    if site:
        from agent.site import make_keys as make_site_keys

        make_site_keys.show(folder, box, as_json)
        return
    if web:
        from agent.web import make_keys

        make_keys.show(folder, list(address), as_json)
        return
    from agent import keys

    public, secret = keys.make(folder, name)
    if as_json:
        click.echo(json.dumps({"public": str(public), "secret": str(secret)}))
        return
    click.echo(f"secret: {secret}   keep it here; 'keys: {{own: {secret}}}' in this box's configuration")
    advice = "copy it into keys.authorized of the boxes it commands, named NODE.key after this box's 'node';"
    advice += " it is server_key on those that command this one"
    click.echo(f"public: {public}   {advice}")


@cli.command()
@config_option
@click.option("--host", help="Listen at this address.  [default: the configuration's]")
@click.option(
    "--port", type=click.IntRange(1, 65535), help="Listen at this port.  [default: the configuration's; 8087]"
)
def web(path: Path, host: str | None, port: int | None) -> int:
    """Serve the live view to a browser, beside a daemon that runs or is dead."""
    from agent.web import start

    return start.run(path, host, port)


@cli.command("demo")
@click.option("--seconds", default=12.0, show_default=True, help="Duration.")
@click.option("--video", type=click.Path(path_type=Path), help="Use this clip instead of the simulated robot cell.")
@click.option("--camera", help="Use this camera, such as /dev/video0.")
@click.option("--model", help="Model package for --video or --camera.  [default: person-coarse]")
@click.option("--web", is_flag=True, help="Show it in a browser, too, until Ctrl-C; prints the address.")
def demo_command(seconds: float, video: Path | None, camera: str | None, model: str | None, web: bool) -> int:
    """Show the whole reflex without hardware: a simulated robot cell, its model, its stop actuator."""
    from agent import demo

    return demo.run(0.0 if web else seconds, video, camera, model, web)


@cli.command()
@click.argument("source", required=False)
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help=".mp4, .webm (for browsers) or .png.")
@config_beside("source", default=None)
@click.option("--scene", help="Use a camera lane of this bundled scene.")
@click.option("--model", help="Use this package alone, without rules.  [default: person-coarse]")
@click.option("--then", help="Second package, which reads the keypoints of --model: pose-fall.")
@click.option("--lane", help="Which camera lane.  [default: the first]")
@click.option("--start", type=click.FloatRange(0), help="Draw from this second on; a .png shows the frame there.")
@click.option(
    "--seconds", type=click.FloatRange(0, min_open=True), help="Draw this many seconds.  [default: all; 10 of a camera]"
)
@click.option("--every", type=click.IntRange(1), default=1, help="Draw every n-th frame; the lane gets all of them.")
def view(path: Path | None, **options: Any) -> None:
    """Draw what a lane finds and decides into a copy of SOURCE.

    SOURCE is a video, a picture, a folder of pictures or /dev/videoN; left out, the lane's own camera. The lane's own
    models, gate and rules get every frame, at the frames' own times; no command is sent. A .png without --start shows
    the frame with the most certain evidence, preferably one in which a rule is in force. OUT is a file on this box: no
    picture is sent over the network.
    """
    from agent.view import cli as view_cli

    view_cli.run(view_cli.ViewOptions(config=path, **options))


@cli.command()
@click.argument("source", required=False)
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help=".png or .jpg.")
@config_beside("source")
@click.option("--lane", help="Which camera lane.  [default: the first]")
def zones(source: str | None, out: Path, path: Path, lane: str | None) -> None:
    """Draw a grid and the lane's zones onto a still of SOURCE or of the lane's camera.

    SOURCE is a video, a picture, a folder of pictures or /dev/videoN. The grid is in shares of the frame: read the
    corners of a zone off it, write them into `zones` of the lane, draw again. The picture stays on this box.
    """
    from agent.view import zone_sketch

    zone_sketch.run(source, out, path, lane)


cli.add_command(bench)
cli.add_command(check)


for command in UPDATE_COMMANDS:
    model.add_command(command)
model.add_command(roll_command)
cli.add_command(model)
cli.add_command(pool)
cli.add_command(tune)
for command in FIELD_COMMANDS:
    cli.add_command(command)
