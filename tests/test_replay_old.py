"""Recordings of version 0.1.0 replay exactly; damaged ones and unknown keys are refused in one line.

`recordings-0.1.0` was made by that version: its bundled scenes, `reflexd run --scene NAME`, for eight seconds. A new
`person-coarse` would need new files: a replay wants the model that was recorded.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.recorder.recording import Recording, RecordingContents, RecordingError, read
from agent.replay.compare import replay
from agent.replay.translate import translate
from agent.tapes.format import TapeHeader
from tests.recordings import replayed
from tests.shared import ROOT

OLD = sorted((ROOT / "tests/data/recordings-0.1.0").glob("*.mcap"))
Damage = Callable[[RecordingContents], RecordingContents]


@pytest.mark.parametrize("path", OLD, ids=lambda path: path.stem)
def test_a_recording_of_0_1_0_replays_without_a_difference(path: Path) -> None:
    contents = read(path)
    assert contents.header["version"] == "0.1.0" and "anew" in contents.messages[0][1]
    report = replay(contents)
    assert report.differences == [] and report.samples > 100 and report.inferences > 40 and report.decisions >= 2
    code, text = replayed(path)
    assert code == 0 and text.endswith("decisions: all the same\n")


def test_two_recordings_of_0_1_0_are_here() -> None:
    assert [path.stem for path in OLD] == ["campus", "perimeter"]


@pytest.mark.parametrize("path", OLD, ids=lambda path: path.stem)
def test_a_translated_recording_has_todays_keys(path: Path) -> None:
    contents = translate(read(path))
    gates = [lane["gate"] for lane in json.loads(contents.header["config"])["lanes"].values()]
    assert all("idle_interval_ms" in gate and "silence_ms" not in gate for gate in gates)
    assert "in_force" in contents.header and "standing" not in contents.header
    for _, message in contents.messages:
        assert {"discontinuity", "refined", "refine_skipped"} <= set(message)
        assert not {"anew", "looked", "hurried"} & set(message)
        assert all("explanation" in decision and "because" not in decision for decision in message["decisions"])


def with_header(**changes: str) -> Damage:
    return lambda contents: contents._replace(header={**contents.header, **changes})


def without(key: str) -> Damage:
    return lambda contents: contents._replace(
        header={name: value for name, value in contents.header.items() if name != key}
    )


def with_sample(**changes: Any) -> Damage:
    """In the second message."""

    def damage(contents: RecordingContents) -> RecordingContents:
        messages = list(contents.messages)
        lane, message = messages[1]
        messages[1] = lane, {**message, "inferred": True, **changes}
        return contents._replace(messages=messages)

    return damage


def write(path: Path, contents: RecordingContents) -> None:
    with open(path, "wb") as file:
        written = Recording(file, contents.header)
        for lane, message in contents.messages:
            written.add(TapeHeader(lane, message["channels"], [], []), message, message["t_capture"])
        written.finish()


@pytest.mark.parametrize("path", OLD, ids=lambda path: path.stem)
def test_an_old_key_in_a_recording_of_today_is_refused_in_one_line(path: Path, tmp_path: Path) -> None:
    marked = tmp_path / "marked.mcap"
    write(marked, with_header(version="0.2.0")(read(path)))
    code, text = replayed(marked)
    (line,) = text.splitlines()
    assert code == 2
    assert line.startswith(f"{marked}: config.lanes.")
    assert line.endswith(".changed: renamed to 'min_changed', but version 0.2.0 should not have the old key")


@pytest.mark.parametrize(
    "damage, message",
    [
        (without("standing"), "in_force: damaged or of another version (0.1.0): Field required"),
        (without("config"), "damaged content: KeyError('config')"),
        (with_header(config="{"), "damaged content: JSONDecodeError"),
        (with_header(config="[]"), "config: damaged or of another version (0.1.0): Input should be"),
        (with_header(config='{"lanes": {}}'), "has samples, but the recorded configuration does not have it"),
        (with_header(standing='{"desk": [1]}'), "in_force.desk.1: damaged or of another version (0.1.0): Field"),
        (with_header(models="[]"), "models: damaged or of another version (0.1.0): Input should be"),
        (with_header(lost_before="few"), "lost_before: damaged or of another version (0.1.0): Input should be"),
        (without("version"), "config.lanes."),
        (with_sample(order=None), "damaged content: TypeError"),
        (with_sample(sequence="x"), "sample x: damaged or of another version: TypeError"),
        (with_sample(frame=[]), "damaged or of another version: DeviceFault"),
        (with_sample(region=[0, 0, 3]), "damaged or of another version: TypeError"),
        (with_sample(outputs=[]), "damaged or of another version: StopIteration"),
        (with_sample(outputs=[{"dtype": "|i1", "shape": [9], "data": "AAAA"}]), "damaged or of another version: "),
        (with_sample(evidence=[{"label": "person"}]), "damaged or of another version: KeyError('score')"),
    ],
)
def test_damaged_content_is_refused_in_one_line(damage: Damage, message: str, tmp_path: Path) -> None:
    with pytest.raises(RecordingError) as caught:
        replay(damage(read(OLD[0])))
    text = str(caught.value)
    assert message in text and "\n" not in text
