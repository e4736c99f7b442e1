"""Compute every decision of a recording again and list the differences."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import accumulate
from typing import Any, NamedTuple

from agent.build import rules_of
from agent.config.models import Config
from agent.data import Decision, Evidence
from agent.recorder.contents import previous
from agent.recorder.recording import RecordingContents, RecordingError
from agent.replay.header import Header, read_header
from agent.replay.models import folders
from agent.replay.player import Player
from agent.replay.translate import translate
from agent.rules.scene import Scene
from drivers.base import DeviceError

FILTER = 16  # readings at the model's rate that the filter of prepare/decimate.py remembers
TOLERANCE = 1e-6  # scores of the same kernel on the same machine are equal; on another machine they need not be
# What damaged content raises; DeviceError: a shape that no camera delivers
DAMAGED = (
    *(LookupError, TypeError, ValueError, ArithmeticError, AttributeError, AssertionError, StopIteration),
    *(RecursionError, MemoryError, struct.error, DeviceError),
)


class Report(NamedTuple):
    """How much was computed again; compared: samples that must be the same; differences: a line each."""

    samples: int
    compared: int
    inferences: int
    decisions: int
    differences: list[str]


def replay(contents: RecordingContents) -> Report:
    """Raises RecordingError, PackageError."""
    if not contents.messages:
        raise RecordingError("no sample is in it: there is nothing to compare")
    try:
        contents = translate(contents)
        header = read_header(contents)
        # Of samples that were lost only the decisions are known: there is nothing to compute them from.
        known = [(lane, message) for lane, message in contents.messages if not message.get("lost")]
        unknown = [lane for lane, _ in known if lane not in header.config.lanes]
        if unknown:
            raise RecordingError(f"lane {unknown[0]} has samples, but the recorded configuration does not have it")
        reports = [_replay_together(lanes, known, header) for lanes in header.together or [list(header.config.lanes)]]
    except DAMAGED as error:
        raise RecordingError(f"damaged content: {_text(error)}") from error
    return Report(
        samples=sum(each.samples for each in reports),
        compared=sum(each.compared for each in reports),
        inferences=sum(each.inferences for each in reports),
        decisions=sum(each.decisions for each in reports),
        differences=[line for each in reports for line in each.differences],
    )


def _replay_together(lanes: Sequence[str], known: Iterable[tuple[str, dict[str, Any]]], header: Header) -> Report:
    """Those of the messages whose lanes ran in one process. Order and time are their own."""
    messages = sorted(((lane, message) for lane, message in known if lane in lanes), key=_order)
    lost = list(_during_losses(messages))
    players, warm_up = _players(dict.fromkeys(lane for lane, _ in messages), header)
    return _compare(zip(messages, lost), players, warm_up)


def _players(lanes: Iterable[str], header: Header) -> tuple[dict[str, Player], WarmUp]:
    """A player for each of the lanes."""
    scene = Scene(rules_of(header.config))
    for decision in header.decisions_in_force():
        scene.rules.in_force[decision.actuator] = decision
        scene.rules.number = max(scene.rules.number, decision.number)
    models = folders(header)
    players = {lane: Player(lane, header, scene, models) for lane in lanes}
    return players, WarmUp(header.config, list(players.values()), header.complete)


def _order(entry: tuple[str, dict[str, Any]]) -> int:
    """Lanes are recorded in turn, some hundredths of a second of each; their decisions depend on the order in time."""
    order: int = entry[1]["order"]
    return order


def _compare(
    messages: Iterable[tuple[tuple[str, dict[str, Any]], bool]], players: dict[str, Player], warm_up: WarmUp
) -> Report:
    """messages: each with whether it was during a loss."""
    samples = inferences = decisions = compared = 0
    differences: list[str] = []
    for (lane, message), lost in messages:
        try:
            replayed = players[lane].play(message)
            previous(message)
            inferences += message["inferred"]
            decisions += len(message["decisions"])
            samples += 1
            if warm_up.done(lane, message, lost):
                compared += 1
                differences += _differences(lane, message, replayed, players[lane].lane.evidence or ())
        except DAMAGED as error:
            sample = f"lane {lane}, sample {message.get('sequence', '?')}"
            raise RecordingError(f"{sample}: damaged or of another version: {_text(error)}") from error
    return Report(samples, compared, inferences, decisions, differences)


class WarmUp:
    """How long differences do not count: after a loss, and in a file that begins later than its daemon.

    The rules and decoders remember samples from before, which are not in the file.
    """

    def __init__(self, config: Config, players: list[Player], complete: bool) -> None:
        """complete: the file begins with its daemon."""
        conditions = [condition for rule in config.rules.values() for condition in rule.conditions]
        windows = [player.perception.package.manifest.window for player in players]
        # The window, and what the filter before it remembers
        full = max((window.length // window.hop + FILTER for window in windows if window), default=0)
        self._min_inferences = full + max((condition.of for condition in conditions), default=1)
        hold_ms = max((rule.hold_ms for rule in config.rules.values()), default=0)
        memory_ms = max((condition.within_ms + condition.memory_ms for condition in conditions), default=0)
        perceptions = [player.perception for player in players]
        window_ns = max((perception.memory_ns for perception in perceptions), default=0)
        heads = [head for perception in perceptions if perception.heads for head in perception.heads.packages]
        decoders = [opened.decoder for opened in (*(perception.package for perception in perceptions), *heads)]
        memory_s = max((getattr(decoder.options, "memory_s", 0.0) for decoder in decoders), default=0.0)
        self._span_ns = int(hold_ms * 1e6) + int(memory_ms * 1e6) + window_ns + int(memory_s * 1e9)
        self._cold = not complete
        self._inferences: dict[str, int] = {}  # of each lane since the last loss
        self._start = 0  # capture time of the first sample since then

    def done(self, lane: str, message: dict[str, Any], lost: bool) -> bool:
        """From this sample on the decisions must be the same. lost: during a loss."""
        if lost:
            self._cold, self._start, self._inferences = True, 0, dict.fromkeys(self._inferences, 0)
        self._start = self._start or message["t_capture"]
        self._inferences[lane] = self._inferences.get(lane, 0) + message["inferred"]
        if not self._cold:
            return True
        long_enough = message["t_capture"] - self._start > self._span_ns
        return long_enough and min(self._inferences.values()) > self._min_inferences


def _during_losses(messages: Sequence[tuple[str, dict[str, Any]]]) -> Iterator[bool]:
    """Of each message: does a lane lack samples that the recorder missed, between its message before and its next one?

    A loss in the device is a discontinuity, which the lane knew.
    """
    changes = [0] * (len(messages) + 1)  # how many more lanes, or fewer
    newest: dict[str, tuple[int, int]] = {}  # of each lane: index of the message, sequence
    for index, (lane, message) in enumerate(messages):
        before, sequence = newest.get(lane, (-1, -1))
        with suppress(*DAMAGED):  # reported when it is played
            expected = previous(message)
            newest[lane] = index, message["sequence"]
            if not message["discontinuity"] and expected > sequence:
                changes[before + 1] += 1
                changes[index + 1] -= 1
    return map(bool, accumulate(changes[:-1]))


def _differences(
    lane: str, message: dict[str, Any], decisions: Sequence[Decision], evidence: Sequence[Evidence]
) -> Iterator[str]:
    """Of this sample from the recorded one, a line each."""
    where = f"lane {lane}, sample {message['sequence']}"
    recorded = [(decision["rule"], decision["actuator"], decision["verb"]) for decision in message["decisions"]]
    replayed = [(decision.rule, decision.actuator, decision.verb) for decision in decisions]
    if recorded != replayed:
        yield f"{where}: decided {_listed(recorded)}, now {_listed(replayed)}"
    # Sorted: the order of persons is that in which they came, maybe before the file begins, and decides nothing.
    old_scores = sorted((item["label"], item["score"]) for item in message["evidence"])
    new_scores = sorted((item.label, item.score) for item in evidence)
    if [label for label, _ in old_scores] != [label for label, _ in new_scores]:
        yield f"{where}: detected {_labels(old_scores)}, now {_labels(new_scores)}"
        return
    difference = max((abs(old - new) for (_, old), (_, new) in zip(old_scores, new_scores)), default=0.0)
    if difference > TOLERANCE:
        yield f"{where}: a score differs by {difference:.4f}"


def _labels(scores: list[tuple[str, float]]) -> str:
    return ", ".join(label for label, _ in scores) or "nothing"


def _listed(decisions: list[tuple[str, str, str]]) -> str:
    return "; ".join(f"{actuator} {verb} ({rule or 'rest'})" for rule, actuator, verb in decisions) or "nothing"


def _text(error: Exception) -> str:
    return repr(error)[:160]
