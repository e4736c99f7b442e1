"""Which lanes belong together, how they are spread over worker processes, and what a worker reports."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from agent.config.groups import groups, part, spread, worker_count
from agent.config.load import check_config, load_config
from agent.config.models import Config
from agent.errors import ConfigError, MissingPackage, PackageError, Pending, heals
from agent.workers.channel import packed_error, unpacked_error
from tests.worker_floor import Floor

LANE: dict[str, Any] = {"source": {"driver": "sensor.sim_arm"}, "model": "arm-deviation"}


def config(lanes: dict[str, Any], rules: dict[str, tuple[list[str], str]], **changes: Any) -> Config:
    """rules: of each name its lanes and its actuator."""
    made = {
        name: {"any": [{"lane": lane, "label": "deviation"} for lane in over], "actuator": actuator, "verb": "stop"}
        for name, (over, actuator) in rules.items()
    }
    actuators = {actuator: {"rest": "run"} for _, actuator in rules.values()}
    return Config.model_validate({"lanes": lanes, "actuators": actuators, "rules": made, **changes})


def plain(*names: str, **more: Any) -> dict[str, Any]:
    return {name: {**LANE, **more} for name in names}


def test_lanes_without_a_rule_in_common_are_apart() -> None:
    made = config(plain("a", "b", "c"), {"r": (["a"], "x"), "s": (["b"], "y")})
    assert groups(made) == [["a"], ["b"], ["c"]]


def test_a_rule_over_two_lanes_joins_them_and_so_do_two_rules_of_one_actuator() -> None:
    rules = {"r": (["a", "c"], "x"), "s": (["b"], "y"), "t": (["d"], "y")}
    assert groups(config(plain("a", "b", "c", "d"), rules)) == [["a", "c"], ["b", "d"]]


def test_what_joins_a_lane_with_two_others_joins_all_three() -> None:
    rules = {"r": (["a"], "x"), "s": (["b"], "y"), "t": (["a", "b"], "z"), "u": (["c"], "y")}
    assert groups(config(plain("a", "b", "c"), rules)) == [["a", "b", "c"]]


def test_a_shared_engine_joins_lanes_of_the_same_model_only() -> None:
    lanes = {**plain("a", "b", share=True), **plain("c"), "d": {**LANE, "model": "robot-stop", "share": True}}
    assert groups(config(lanes, {})) == [["a", "b"], ["c"], ["d"]]


def test_a_model_that_is_updated_joins_its_lanes() -> None:
    lanes = {**plain("a", "b"), "c": {**LANE, "model": "robot-stop"}}
    update = {"url": "https://updates.example", "root": "1.root.json"}
    assert groups(config(lanes, {}, update=update)) == [["a", "b"], ["c"]]
    assert groups(config(lanes, {}, update={**update, "models": ["robot-stop"]})) == [["a"], ["b"], ["c"]]


def test_groups_are_spread_evenly_and_stay_where_they_are() -> None:
    made = config(plain(*"abcde"), {"r": (["a", "b", "c"], "x")})
    first = spread(made, 2)
    assert [list(each.lanes) for each in first] == [["a", "b", "c"], ["d", "e"]]
    where = {lane: number for number, each in enumerate(first) for lane in each.lanes}
    grown = config(plain(*"abcdefg"), {"r": (["a", "b", "c"], "x")})
    assert [set(each.lanes) for each in spread(grown, 2, where)] == [{"a", "b", "c", "g"}, {"d", "e", "f"}]


def test_a_group_that_joins_two_goes_where_more_of_it_is() -> None:
    made = config(plain(*"abc"), {"r": (["a", "b", "c"], "x")})
    assert [list(each.lanes) for each in spread(made, 2, {"a": 0, "b": 1, "c": 1})] == [[], ["a", "b", "c"]]


def test_a_part_has_the_rules_and_actuators_of_its_lanes_and_no_others() -> None:
    update = {"url": "https://updates.example", "root": "1.root.json"}
    lanes = {**plain("a"), "b": {**LANE, "model": "robot-stop"}}
    made = config(lanes, {"r": (["a"], "x"), "s": (["b"], "y")}, update={**update, "models": ["robot-stop"]})
    left, right = part(made, ["a"]), part(made, ["b"])
    assert (list(left.rules), list(left.actuators), left.updatable) == (["r"], ["x"], [])
    assert (list(right.rules), list(right.actuators), right.updatable) == (["s"], ["y"], ["robot-stop"])


def test_auto_is_one_worker_for_each_core_where_that_helps() -> None:
    cores = len(os.sched_getaffinity(0))
    many, one = plain(*(f"lane{n}" for n in range(40))), plain("a")
    assert worker_count(config(many, {}, workers="auto")) == (cores if cores > 1 else 0)
    assert worker_count(config(one, {}, workers="auto")) == 0
    assert [worker_count(config(one, {}, **given)) for given in ({}, {"workers": 3})] == [0, 3]


@pytest.mark.parametrize("value", ["many", -1, 17, 1.5])
def test_another_number_of_workers_is_refused(tmp_path: Path, value: Any) -> None:
    path = tmp_path / "reflexd.yaml"
    path.write_text(json.dumps({"workers": value}))
    with pytest.raises(ConfigError, match="'workers'"):
        load_config(path)


def test_check_warns_of_workers_that_would_have_no_lane(tmp_path: Path) -> None:
    cell = Floor(tmp_path)
    cell.config["workers"] = 3
    path = cell.write()
    (warning,) = [each for each in check_config(path)[1] if "workers" in each]
    assert "3 workers, but rules, actuators, 'share' and 'update' join the lanes to 2 groups" in warning
    cell.config["workers"] = 2
    assert not [each for each in check_config(cell.write())[1] if "workers" in each]


# -- what a worker reports ------------------------------------------------------------


def test_an_error_of_a_worker_is_the_same_in_the_daemon() -> None:
    late = PackageError("model.tflite: cannot be read")
    late.__cause__ = OSError(5, "Input/output error", "model.tflite")
    for error in (
        ConfigError(["one", "two"]),
        ConfigError([Pending("its disk may be late")]),
        PackageError("wrong"),
        MissingPackage("absent"),
        late,
        OSError(28, "No space left on device", "/run/a.ledger"),
    ):
        same = unpacked_error(json.loads(json.dumps(packed_error(error))))
        assert (type(same), str(same), heals(same)) == (type(error), str(error), heals(error))
