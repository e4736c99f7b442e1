"""One file for the boxes of a site: how it is joined, what is wrong in it, what is wrong between boxes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from agent import keys, yamlfile
from agent.cli import cli
from agent.config.load import load_config
from agent.errors import ConfigError
from agent.rollout.overlay import box_documents
from agent.rollout.site import load_site
from tests.shared import ROOT

SITE = """\
realtime: false
lanes:
  cam:
    source: {driver: camera.sim, width: 320, height: 240, fps: 10}
    model: person-coarse
    cores: [0, 1]
actuators:
  lamp:
    device: {driver: actuator.sim}
    rest: "off"
    verbs: ["on", "off"]
rules:
  somebody: {any: [{lane: cam, label: person}], actuator: lamp, verb: "on"}
boxes:
  a:
  b:
    lanes:
      cam:
        source: {fps: 5}
        cores: [1]
      arm: {source: {driver: sensor.sim_arm}, model: arm-deviation}
  c:
    lanes:
      cam:
        source: {driver: camera.sim, fps: 20}
    rules: null
"""


def joined(folder: Path, text: str) -> tuple[dict[str, dict[str, Any]], list[str]]:
    documents, mistakes = box_documents(yamlfile.parse(text.encode(), folder / "site.yaml"))
    return {name: document.data for name, document in documents.items()}, mistakes


def mistakes(folder: Path, text: str) -> list[str]:
    path = folder / "site.yaml"
    path.write_text(text)
    try:
        load_site(path)
    except ConfigError as error:
        return [mistake.removeprefix(f"{path}:") for mistake in error.mistakes]
    return []


def test_mappings_join_lists_and_values_replace_null_removes_a_driver_replaces_its_section(tmp_path: Path) -> None:
    boxes, wrong = joined(tmp_path, SITE)
    assert wrong == [] and list(boxes) == ["a", "b", "c"]
    assert [box["node"] for box in boxes.values()] == ["a", "b", "c"]
    assert "boxes" not in boxes["a"] and boxes["a"]["lanes"]["cam"]["cores"] == [0, 1]
    camera = boxes["b"]["lanes"]["cam"]
    assert camera["source"] == {"driver": "camera.sim", "width": 320, "height": 240, "fps": 5}
    assert camera["cores"] == [1] and set(boxes["b"]["lanes"]) == {"cam", "arm"}
    assert boxes["c"]["lanes"]["cam"]["source"] == {"driver": "camera.sim", "fps": 20}
    assert "rules" not in boxes["c"] and "rules" in boxes["b"]
    assert boxes["c"]["lanes"]["cam"]["model"] == "person-coarse"


def test_a_site_without_mistakes_is_good(tmp_path: Path) -> None:
    assert mistakes(tmp_path, SITE) == []


def test_every_line_is_that_of_the_file(tmp_path: Path) -> None:
    documents, _ = box_documents(yamlfile.parse(SITE.encode(), tmp_path / "site.yaml"))
    at = {box: document.at(("lanes", "cam", "source", "fps")) for box, document in documents.items()}
    lines = SITE.splitlines()
    for box, text in (("a", "driver: camera.sim, width"), ("b", "source: {fps: 5}"), ("c", "fps: 20")):
        number = int(at[box].rpartition(":")[2])
        assert text in lines[number - 1], box
    replaced = documents["c"].at(("lanes", "cam", "source", "width"))  # which it has no more
    assert "camera.sim, fps: 20" in lines[int(replaced.rpartition(":")[2]) - 1]


def test_a_mistake_in_an_overlay_has_its_line_and_its_box(tmp_path: Path) -> None:
    wrong = SITE.replace("source: {fps: 5}", "source: {fsp: 5}")
    (found,) = mistakes(tmp_path, wrong)
    assert found.startswith("19: ") and "did you mean 'fps'?" in found and found.endswith("(box b)")


def test_a_mistake_in_the_common_part_is_said_once(tmp_path: Path) -> None:
    (found,) = mistakes(tmp_path, SITE.replace("realtime: false", "realtime: maybe"))
    assert found.startswith("1: ") and "(box" not in found


@pytest.mark.parametrize(
    "text, expected",
    [
        ("lanes: {}\n", "1: 'boxes': expected a name for each box"),
        ("boxes: []\n", "1: 'boxes': expected a name for each box"),
        ("realtime: false\nboxes:\n  a: 3\n", "3: 'boxes.a': expected lines of 'key: value', or nothing"),
        ("realtime: false\nboxes:\n  a b: {}\n", "3: name of a box: expected 1 to 32 letters"),
        ("node: x\nboxes:\n  a:\n", "1: 'node': all boxes would have this name"),
        ("boxes:\n  a: {lanes: null}\n", "2: 'lanes' is not in the common part: nothing to remove"),
    ],
)
def test_a_file_that_cannot_be_joined_says_what_to_write(tmp_path: Path, text: str, expected: str) -> None:
    assert any(found.startswith(expected) for found in mistakes(tmp_path, text)), mistakes(tmp_path, text)


def test_what_is_no_yaml_or_absent_is_one_message(tmp_path: Path) -> None:
    assert len(mistakes(tmp_path, "boxes: {")) == 1
    with pytest.raises(ConfigError, match="none.yaml"):
        load_site(tmp_path / "none.yaml")


def test_the_file_in_the_readme_is_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCK", "user:password")
    text = (ROOT / "agent/rollout/README.md").read_text()
    assert mistakes(tmp_path, text.split("```yaml\n")[1].split("```")[0]) == []


# -- between boxes -----------------------------------------------------------------------------------------


@pytest.fixture
def cell(tmp_path: Path) -> dict[str, Any]:
    """Box b commands the horn of box a."""
    (tmp_path / "authorized").mkdir()
    own = {}
    for box in ("a", "b"):
        public, secret = keys.make(tmp_path / box, box)
        own[box] = {"own": str(secret)}
    (tmp_path / "authorized/b.key").write_bytes(public.read_bytes())
    condition = {"lane": "cam", "label": "person"}
    camera = {"source": {"driver": "camera.sim", "width": 320, "height": 240}, "model": "person-coarse"}
    public_a = str(tmp_path / "a/a.key")
    return {
        "realtime": False,
        "boxes": {
            "a": {
                "keys": {**own["a"], "authorized": str(tmp_path / "authorized")},
                "actuators": {
                    "horn": {
                        "device": {"driver": "actuator.sim"},
                        "endpoint": "tcp://0.0.0.0:5555",
                        "rest": "quiet",
                        "verbs": ["quiet", "sound"],
                        "senders": ["b/cam"],
                    }
                },
            },
            "b": {
                "keys": own["b"],
                "lanes": {"cam": camera},
                "actuators": {"horn": {"endpoint": "tcp://a.local:5555", "rest": "quiet", "server_key": public_a}},
                "rules": {"somebody": {"any": [condition], "actuator": "horn", "verb": "sound"}},
            },
        },
    }


def of(folder: Path, site: dict[str, Any]) -> list[str]:
    return mistakes(folder, json.dumps(site, indent=1))


def test_a_box_that_commands_another_is_good(tmp_path: Path, cell: dict[str, Any]) -> None:
    assert of(tmp_path, cell) == []


def test_a_box_without_an_authorised_key_is_named(tmp_path: Path, cell: dict[str, Any]) -> None:
    (tmp_path / "authorized/b.key").rename(tmp_path / "authorized/other.key")
    (found,) = of(tmp_path, cell)
    assert "no key 'b.key' in" in found and "box 'b' commands actuator 'horn' of box 'a'" in found


def test_another_port_is_named(tmp_path: Path, cell: dict[str, Any]) -> None:
    cell["boxes"]["b"]["actuators"]["horn"]["endpoint"] = "tcp://a.local:5556"
    (found,) = of(tmp_path, cell)
    assert "box 'b' sends to port 5556, actuator 'horn' of box 'a' listens at 5555" in found


def test_an_actuator_that_is_not_in_the_network_is_named(tmp_path: Path, cell: dict[str, Any]) -> None:
    del cell["boxes"]["a"]["actuators"]["horn"]["endpoint"]
    (found,) = of(tmp_path, cell)
    assert "which is not in the network: give it a tcp endpoint" in found


def test_a_sender_that_no_box_has_is_named(tmp_path: Path, cell: dict[str, Any]) -> None:
    cell["boxes"]["a"]["actuators"]["horn"]["senders"] = ["b/cam", "c/cam"]
    (found,) = of(tmp_path, cell)
    assert "no box of this file has the lane 'c/cam': actuator 'horn' would stay safe" in found


def test_one_node_on_two_boxes_is_named(tmp_path: Path, cell: dict[str, Any]) -> None:
    cell["boxes"]["a"]["node"] = "b"
    assert any("box 'b' has the node 'b', as box 'a' has: give each its own" in found for found in of(tmp_path, cell))


def test_two_boxes_at_one_address_are_named(tmp_path: Path, cell: dict[str, Any]) -> None:
    horn = dict(cell["boxes"]["a"]["actuators"]["horn"], endpoint="tcp://192.0.2.7:5555")
    cell["boxes"]["a"]["actuators"]["horn"] = horn
    authorized = cell["boxes"]["a"]["keys"]["authorized"]
    cell["boxes"]["b"]["keys"] |= {"authorized": authorized}
    cell["boxes"]["b"]["actuators"]["bell"] = {**horn, "senders": []}
    (found,) = of(tmp_path, cell)
    assert "box 'b' listens at 192.0.2.7:5555, as box 'a' does" in found


def test_an_actuator_that_no_box_of_the_file_has_is_a_warning(tmp_path: Path, cell: dict[str, Any]) -> None:
    del cell["boxes"]["a"]["actuators"]
    path = tmp_path / "site.yaml"
    path.write_text(json.dumps(cell))
    _, (warning,) = load_site(path)
    assert "warning: box 'b' commands actuator 'horn', which no box here has" in warning


# -- the command -------------------------------------------------------------------------------------------


def run(*arguments: str) -> Any:
    return CliRunner().invoke(cli, ["check", *arguments], standalone_mode=False)


def test_the_command_writes_each_box_a_configuration_that_loads(tmp_path: Path) -> None:
    path = tmp_path / "site.yaml"
    path.write_text(SITE)
    result = run("--site", str(path), "--write", str(tmp_path / "made"))
    assert result.return_value == 0, result.output
    assert f"{path}: good: 3 boxes\n  a: 1 lane, 1 actuator, 1 rule\n  b: 2 lanes, 1 actuator, 1 rule" in result.output
    configs = {box: load_config(tmp_path / f"made/{box}.yaml") for box in "abc"}
    assert [config.node for config in configs.values()] == ["a", "b", "c"]
    assert configs["b"].lanes["cam"].source.options["fps"] == 5
    assert configs["a"].actuators["lamp"].rest == "off"  # still text, not the word of YAML for false
    assert all((tmp_path / f"made/{box}.yaml").stat().st_mode & 0o077 == 0 for box in "abc")
    assert (tmp_path / "made/a.yaml").read_text().startswith("# Box a, made by 'reflexd check --site' from site.yaml")


def test_json_has_every_box_without_its_secrets(tmp_path: Path) -> None:
    path = tmp_path / "site.yaml"
    camera = "{driver: camera.rtsp, url: 'rtsp://u:hunter2@192.0.2.1/s'}"
    path.write_text(SITE.replace("source: {driver: camera.sim, fps: 20}", f"source: {camera}"))
    result = run("--site", str(path), "--json")
    answer = json.loads(result.stdout)
    assert answer["ok"] and list(answer["boxes"]) == ["a", "b", "c"]
    assert "hunter2" not in result.output


def test_mistakes_and_a_model_that_is_not_there_are_code_2(tmp_path: Path) -> None:
    path = tmp_path / "site.yaml"
    path.write_text(SITE.replace("model: arm-deviation", "model: nothing"))
    result = run("--site", str(path))
    assert result.return_value == 2 and "no model package 'nothing'" in result.output
    result = run("--site", str(path), "--json")
    assert result.return_value == 2 and not json.loads(result.stdout)["ok"]


def test_write_alone_is_a_wrong_use(tmp_path: Path) -> None:
    path = tmp_path / "reflexd.yaml"
    path.write_text("lanes: {}\n")
    assert "--write goes with --site" in str(run(str(path), "--write", str(tmp_path)).exception)
