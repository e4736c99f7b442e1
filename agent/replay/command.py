"""`reflexd replay FILE`: compute every decision of a recording again and compare."""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import click

from agent import package
from agent.build import rules_of
from agent.config.models import Config
from agent.data import Decision
from agent.recorder.recording import RecordingContents, RecordingError, read
from agent.replay.player import Player
from agent.replay.translate import translate
from agent.rules.scene import Scene

SHOWN = 20  # differences
CLOSE = 1e-6  # scores of the same kernel on the same machine are equal; of another one they need not be


class Report(NamedTuple):
    samples: int
    inferences: int
    decisions: int
    differences: list[str]


def replay(tape: RecordingContents) -> Report:
    """Raises RecordingError, PackageError."""
    tape = translate(tape)
    config = Config.model_validate(json.loads(tape.facts["config"]))
    beside = Path(tape.facts["path"]).parent
    _check_models(json.loads(tape.facts["models"]), beside)
    scene = Scene(rules_of(config))
    _seed(scene, json.loads(tape.facts["in_force"]))
    whole = not json.loads(tape.facts["in_force"]) and tape.facts["lost_before"] == "0"
    lanes = {name: Player(name, config, beside, scene) for name in dict.fromkeys(name for name, _ in tape.messages)}
    inferences = decisions = 0
    differences: list[str] = []
    warm = WarmUp(config, list(lanes.values()), whole)
    # Lanes are written one after the other, some hundredths of a second each; what they decided depends on the order.
    for name, message in sorted(tape.messages, key=lambda one: one[1]["order"]):
        found = lanes[name].play(message)
        inferences += message["inferred"]
        decisions += len(message["decisions"])
        if warm.enough(name, message):
            differences += _differ(name, message, found, lanes[name].lane.evidence)
    return Report(len(tape.messages), inferences, decisions, differences)


def _check_models(sums: dict[str, str], beside: Path) -> None:
    for model, checksum in sums.items():
        if package.read(package.find(model, beside)).sha256 != checksum:
            raise RecordingError(
                f"model {model} is another one now than when this was recorded: bring the old one back first"
            )


def _seed(scene: Scene, in_force: dict[str, list[Any]]) -> None:
    """What was in force when the file began."""
    for number, rule, actuator, verb, *_ in in_force.values():
        scene.rules.in_force[actuator] = Decision(number, rule, actuator, verb, {}, (), 0, 0)
        scene.rules.number = max(scene.rules.number, number)


class WarmUp:
    """A file that does not begin with its daemon, or lost samples, lacks what the rules had seen: they need a while to agree."""

    def __init__(self, config: Config, lanes: list[Player], whole: bool) -> None:
        """whole: the file begins with its daemon."""
        conditions = [one for rule in config.rules.values() for one in rule.conditions]
        self.least = max((one.of for one in conditions), default=1)
        self.back_ns = int(max((rule.hold_ms for rule in config.rules.values()), default=0) * 1e6)
        self.back_ns += int(max((one.within_ms + one.memory_ms for one in conditions), default=0) * 1e6)
        self.back_ns += max((one.perception.second.window.span_ns for one in lanes if one.perception.second), default=0)
        memories = [
            getattr(one.perception.package.decoder.options, "memory_s", 0.0) for one in lanes
        ]  # of a decoder's own
        self.back_ns += int(max(memories, default=0.0) * 1e9)
        self.cold = not whole
        self.seen: dict[str, int] = {}  # inferences of each lane since the last loss
        self.first = 0
        self.newest: dict[str, int] = {}  # sequence

    def enough(self, lane: str, message: dict[str, Any]) -> bool:
        if self.lost(lane, message):
            self.cold, self.first, self.seen = True, 0, dict.fromkeys(self.seen, 0)
        self.first = self.first or message["t_capture"]
        self.seen[lane] = self.seen.get(lane, 0) + message["inferred"]
        if not self.cold:
            return True
        return message["t_capture"] - self.first > self.back_ns and min(self.seen.values()) > self.least

    def lost(self, lane: str, message: dict[str, Any]) -> bool:
        """The recorder was too slow for what lay before: what the device lost, the lane knew, and began anew."""
        delivered = len(message.get("readings", "1"))
        before = self.newest.get(lane, -1)
        self.newest[lane] = message["sequence"]
        return not message["discontinuity"] and message["sequence"] - before > delivered + message["skipped"]


def _differ(lane: str, message: dict[str, Any], decisions: list[Decision], evidence: Any) -> Iterator[str]:
    """What is not as it was recorded, a line each."""
    where = f"lane {lane}, sample {message['sequence']}"
    was = [(one["rule"], one["actuator"], one["verb"]) for one in message["decisions"]]
    now = [(one.rule, one.actuator, one.verb) for one in decisions]
    if was != now:
        yield f"{where}: decided {_told(was)}, now {_told(now)}"
    seen = [(one["label"], one["score"]) for one in message["evidence"]]
    sees = [(one.label, one.score) for one in evidence or ()]
    if [label for label, _ in seen] != [label for label, _ in sees]:
        yield f"{where}: saw {_labels(seen)}, now {_labels(sees)}"
        return
    far = max((abs(old - new) for (_, old), (_, new) in zip(seen, sees)), default=0.0)
    if far > CLOSE:
        yield f"{where}: a score differs by {far:.4f}"


def _labels(seen: list[tuple[str, float]]) -> str:
    return ", ".join(label for label, _ in seen) or "nothing"


def _told(decisions: list[tuple[str, str, str]]) -> str:
    return "; ".join(f"{actuator} {verb} ({rule or 'rest'})" for rule, actuator, verb in decisions) or "nothing"


def _unsealed(path: Path, key: Path | None) -> RecordingContents:
    """A sealed clip, opened in memory only."""
    from agent import keys
    from agent.recorder import seal

    if not key:
        raise RecordingError(f"{path}: sealed: name the secret key file with --key")
    try:
        return read(path, BytesIO(seal.open(path.read_bytes(), keys.read_secret(key)[1])))
    except seal.SealError as error:
        raise RecordingError(f"{path}: {error}") from error


def run(path: Path, key: Path | None, as_json: bool) -> int:
    """0 when every decision is the same, 1 when not. key: of a sealed file."""
    try:
        tape = _unsealed(path, key) if path.name.endswith(".sealed") else read(path)
        report = replay(tape)
    except RecordingError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps({**report._asdict(), "lost": tape.lost, "torn": tape.torn}))
        return 1 if report.differences else 0
    for line in report.differences[:SHOWN]:
        click.echo(line)
    if len(report.differences) > SHOWN:
        click.echo(f"and {len(report.differences) - SHOWN} more")
    same = f"{len(report.differences)} differences" if report.differences else "all the same"
    click.echo(
        f"{path}: {report.samples} samples, {report.inferences} inferences, {report.decisions} decisions: {same}"
    )
    if tape.lost or tape.torn:
        end = "; its end is missing" if tape.torn else ""
        click.echo(f"{path}: {tape.lost} samples were not recorded{end}")
    return 1 if report.differences else 0
