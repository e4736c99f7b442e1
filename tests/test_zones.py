"""Zones: which outlines are accepted, what lies inside, how rules refer to them."""

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from agent.build import rules_of
from agent.cli import cli
from agent.config.load import load_config
from agent.config.models import Config
from agent.data import Box, Evidence
from agent.errors import ConfigError
from agent.reload import compare
from agent.rules.zones import Polygon, Zone
from agent.view import zone_sketch

SQUARE = ((0.2, 0.2), (0.6, 0.2), (0.6, 0.6), (0.2, 0.6))
POLYGON = TypeAdapter(Polygon)
SHARE = st.floats(0, 1)


@pytest.mark.parametrize(
    "x, y, inside",
    [
        (0.4, 0.4, True),
        (0.2, 0.4, True),
        (0.4, 0.2, True),
        (0.2, 0.2, True),  # its left and upper border belong to it
        (0.6, 0.4, False),
        (0.4, 0.6, False),
        (0.6, 0.6, False),
        (0.6, 0.2, False),
        (0.2, 0.6, False),  # the others do not
        (0.1, 0.4, False),
        (0.7, 0.4, False),
        (0.4, 0.1, False),
        (0.4, 0.7, False),
        (math.nan, 0.4, False),
        (0.4, math.nan, False),
    ],
)
def test_a_square(x, y, inside):
    for corners in (SQUARE, SQUARE[::-1], SQUARE[2:] + SQUARE[:2]):
        assert Zone(corners).inside(x, y) is inside


def test_a_hollow_shape():
    hook = Zone(((0.1, 0.1), (0.9, 0.1), (0.9, 0.9), (0.7, 0.9), (0.7, 0.3), (0.3, 0.3), (0.3, 0.9), (0.1, 0.9)))
    assert hook.inside(0.2, 0.8) and hook.inside(0.8, 0.8) and hook.inside(0.5, 0.2)
    assert not hook.inside(0.5, 0.8) and not hook.inside(0.5, 0.3)


def test_the_foot_of_a_box_or_its_middle():
    box = Box(0.3, 0.3, 0.5, 0.7)
    assert not Zone(SQUARE).contains(box)
    assert Zone(SQUARE, by_middle=True).contains(box)


@pytest.mark.parametrize("box", [Box(0.4, 0.5, 0.6, 1.0), Box(0.9, 0.5, 1.1, 1.2), Box(-0.2, -0.5, 0.1, 0.0)])
def test_the_whole_picture_contains_a_box_that_reaches_its_border(box):
    assert Zone(((0, 0), (1, 0), (1, 1), (0, 1))).contains(box)


@given(st.tuples(SHARE, SHARE), st.tuples(SHARE, SHARE), SHARE, SHARE, st.booleans())
def test_neighbours_share_a_border_but_no_point_of_it(start, end, x, y, on_it):
    """Two halves of the picture, on either side of any line: each point is in exactly one of them."""
    (ax, _), (bx, _) = start, end
    left, right = ((0, 0), (ax, 0), (bx, 1), (0, 1)), ((1, 0), (ax, 0), (bx, 1), (1, 1))
    assume(0 < ax < 1 and 0 < bx < 1)
    if on_it:
        x = ax + (bx - ax) * y
    assert Zone(left).inside(x, y) + Zone(right).inside(x, y) == 1


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=3, max_size=8, unique=True), SHARE, SHARE)
def test_inside_agrees_with_opencv(corners, x, y):
    """Off the border, where the two may differ by their conventions."""
    polygon = [(a / 20, b / 20) for a, b in corners]
    distance = cv2.pointPolygonTest(np.array(polygon, np.float32), (x, y), True)
    assume(abs(distance) > 1e-5)
    try:
        POLYGON.validate_python(polygon)
    except ValidationError:
        assume(False)
    assert Zone(polygon).inside(x, y) == (distance > 0)


@pytest.mark.parametrize(
    "corners, message",
    [
        ([[0, 0], [1, 1], [1, 0], [0, 1]], r"the side \[0, 0\] to \[1, 1\] meets the side \[1, 0\] to \[0, 1\]"),
        ([[0, 0], [1, 0], [1, 1], [0.5, 0], [0, 1]], "meets the side"),  # touches with a corner
        ([[0, 0], [1, 0], [1, 1], [0.5, 0.5], [1, 1], [0, 1]], "turns back on itself"),
        ([[0, 0], [1, 0], [0.5, 0]], "turns back on itself"),
        ([[0, 0], [0, 0], [1, 1], [0, 1]], r"corner \[0, 0\] appears twice in a row"),
        ([[0, 0], [1, 1], [0, 1], [0, 0]], r"corner \[0, 0\] appears twice in a row"),
        ([[0, 0], [1, 1]], "3 to 32 corners"),
        ([[0, 0]] * 33, "3 to 32 corners"),
        ([[0, 0], [1, 1], [1]], "3 to 32 corners"),
        ("stop", "3 to 32 corners"),
        (7, "3 to 32 corners"),
        ([[0, 0], [1, 1], [1.01, 0]], "less than or equal to 1"),
        ([[0, 0], [1, 1], [math.nan, 0]], "than or equal to"),
        ([[0, 0], [1, 1], ["x", 0]], "valid number"),
    ],
)
def test_a_bad_outline_is_refused(corners, message):
    with pytest.raises(ValidationError, match=message):
        POLYGON.validate_python(corners)


def test_a_corner_on_a_straight_side_is_allowed():
    assert len(POLYGON.validate_python([[0, 0], [0.5, 0], [1, 0], [1, 1]])) == 4


@given(st.lists(st.tuples(SHARE, SHARE), min_size=0, max_size=40))
def test_any_corners_are_accepted_or_refused(corners):
    try:
        polygon = POLYGON.validate_python(corners)
    except ValidationError:
        return
    assert Zone(polygon).inside(0.5, 0.5) in (True, False)


ROAD = """\
lanes:
  road:
    source: {driver: camera.sim}
    model: motion-blobs
    zones:
      stop: [[0, 0.5], [1, 0.5], [1, 1], [0, 1]]
  arm:
    source: {driver: sensor.sim_arm}
    model: arm-deviation
actuators:
  light: {rest: vehicles}
rules:
  wait:
    any:
      - {lane: road, label: vehicle, zone: stop, count: 2}
    actuator: light
    verb: people
"""


def load(folder: Path, old: str = "", new: str = "") -> Config:
    assert ROAD.count(old) == 1 or not old
    path = folder / "road.yaml"
    path.write_text(ROAD.replace(old, new) if old else ROAD)
    return load_config(path)


@pytest.mark.parametrize(
    "old, new, line, message",
    [
        ("zone: stop", "zone: stpo", 15, "no zone 'stpo' in lane 'road'; did you mean 'stop'?"),
        ("stop: [[0, 0.5], [1, 0.5]", "stop: [[1, 0.5], [0, 0.5]", 6, "'lanes.road.zones.stop': the side [0, 1] to"),
        ("      stop:", "      the stop:", 6, "'the stop': a name has 1 to 32 letters"),
        ("zone: stop", "zone: [[0, 0], [1, 1]]", 15, "'rules.wait.any.0.zone': expected 3 to 32 corners"),
        ("zone: stop", "zone: 7", 15, "'rules.wait.any.0.zone': expected 3 to 32 corners"),
        ("zone: stop", "zone_by: head", 15, "'rules.wait.any.0.zone_by': expected 'foot' or 'middle', found 'head'"),
        ("count: 2", "count: 0", 15, "'rules.wait.any.0.count': expected greater than or equal to 1, found 0"),
        (
            "lane: road, label: vehicle",
            "lane: arm, label: deviation",
            15,
            "lane 'arm' reads no pictures: it has no zones",
        ),
        (
            "model: arm-deviation",
            "model: arm-deviation\n    zones: {here: [[0, 0], [1, 0], [1, 1]]}",
            10,
            "a zone is a part of a picture, and model 'arm-deviation' reads none: remove it",
        ),
    ],
)
def test_a_mistake_is_one_line_with_its_place(tmp_path, old, new, line, message):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, old, new)
    mistakes = [mistake for mistake in caught.value.mistakes if message in mistake]
    assert mistakes and mistakes[0].startswith(f"{tmp_path}/road.yaml:{line}: ")


def vehicles(*feet, lane="road", label="vehicle", score=0.9):
    return [Evidence(lane, label, score, 1, Box(x - 0.1, y - 0.2, x + 0.1, y)) for x, y in feet]


def test_rules_use_the_zones_that_they_name(tmp_path):
    rules = rules_of(load(tmp_path))
    near, far = (0.5, 0.9), (0.5, 0.4)
    assert [decision.verb for decision in rules.decide("road", 1, 1, vehicles(near, far, far))] == ["vehicles"]
    evidence = vehicles(near, far, (0.2, 0.6), (0.8, 0.7))
    (decision,) = rules.decide("road", 2, 2, evidence)
    assert decision.verb == "people"
    assert decision.evidence == (evidence[0], evidence[2])  # `count` of them, and none from elsewhere


@pytest.mark.parametrize("kind", ["all", "some", "sum"])
def test_every_kind_of_rule_uses_them(tmp_path, kind):
    loaded = load(tmp_path, "    any:\n", f"    at_least: 1\n    confidence: 0.5\n    {kind}:\n")
    for feet, verb in ((0.4, "vehicles"), (0.9, "people")):
        (decision,) = rules_of(loaded).decide("road", 1, 1, vehicles((0.5, feet), (0.2, feet)))
        assert decision.verb == verb


def test_a_rule_may_have_its_own_corners(tmp_path):
    rules = rules_of(load(tmp_path, "zone: stop", "zone: [[0, 0], [1, 0], [1, 0.5], [0, 0.5]]"))
    assert [decision.verb for decision in rules.decide("road", 1, 1, vehicles((0.5, 0.4), (0.2, 0.4)))] == ["people"]


def test_a_changed_zone_changes_the_rules_and_no_lane(tmp_path):
    old, new = load(tmp_path), load(tmp_path, "[[0, 0.5], [1, 0.5]", "[[0, 0.3], [1, 0.3]")
    assert compare(old, new) == ([], [], [])
    before, same, after = rules_of(old), rules_of(old), rules_of(new)
    before.decide("road", 1, 1, vehicles((0.5, 0.9), (0.2, 0.9)))
    same.carry_over(before)
    after.carry_over(before)
    assert same.rules[0] is before.rules[0]
    assert after.rules[0] is not before.rules[0]
    assert [decision.verb for decision in after.decide("road", 2, 2, vehicles((0.5, 0.4), (0.2, 0.4)))] == ["people"]


def test_the_configuration_in_a_recording_has_the_zones(tmp_path):
    loaded = load(tmp_path)
    again = Config.model_validate_json(loaded.model_dump_json())
    assert again == loaded
    (rule,), (expected,) = rules_of(again).rules, rules_of(loaded).rules
    assert rule.config == expected.config


def test_the_sketch_has_grid_and_zones_at_their_coordinates():
    grey = np.full((360, 640, 3), 90, np.uint8)
    plain, drawn = zone_sketch.sketch(grey, {}), zone_sketch.sketch(grey, {"stop": SQUARE})
    assert plain.shape == drawn.shape == (720, 1280, 3)
    assert (plain[80:, round(0.7 * 1279)] == 255).all() and (plain[round(0.3 * 719), 80:] == 255).all()
    changed = (plain != drawn).any(axis=2)
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    assert abs(columns[[0, -1]] / 1279 - (0.2, 0.6)).max() < 0.01
    assert abs(rows[[0, -1]] / 719 - (0.2, 0.6)).max() < 0.01


def test_the_sketch_is_readable_for_its_owner_only(tmp_path):
    load(tmp_path)
    out = tmp_path / "still.png"
    arguments = ["zones", "-c", str(tmp_path / "road.yaml"), "-o", str(out)]
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "lane road, frames of 640 x 480, zones: stop" in result.output
    assert "stop: [[0, 0.5], [1, 0.5], [1, 1], [0, 1]]" in result.output
    assert cv2.imread(str(out)).shape[1] == 1280
    assert out.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["-o", "x.gif"], "x.gif: expected a file named *.png, *.jpg, *.jpeg"),
        (["/nowhere.mp4", "-o", "x.png"], "/nowhere.mp4: no such file, folder or camera"),
        (["-o", "x.png", "--lane", "raod"], "no camera lane 'raod' in this configuration: there is road"),
    ],
)
def test_a_sketch_that_cannot_be_drawn(tmp_path, arguments, message):
    load(tmp_path)
    result = CliRunner().invoke(cli, ["zones", "-c", str(tmp_path / "road.yaml"), *arguments])
    assert result.exit_code == 1 and message in result.output
    assert not (tmp_path / "x.png").exists()
