"""The section `site` and lanes over other boxes' evidence: what they take, and the message of each mistake."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from agent.config.load import check_config, load_config
from agent.errors import ConfigError
from agent.site.make_keys import Authority
from tests.shared import ROOT

PLAIN = """
node: region
insecure: true
site: {name: hall, boxes: [b], listen: ["tcp/0.0.0.0:7447"]}
lanes:
  robot:
    source: {driver: sensor.site, from: [b/arm]}
actuators:
  belt: {device: {driver: actuator.sim}, rest: run}
rules:
  any: {any: [{lane: robot, label: whatever, score: 0.5}], actuator: belt, verb: stop}
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "box.yaml"
    path.write_text(f"run_dir: {folder}/run\nstate_dir: {folder}/state\n{text}")
    return path


def mistakes(folder: Path, *changes: tuple[str, str]) -> list[str]:
    text = PLAIN
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    with pytest.raises(ConfigError) as caught:
        load_config(written(folder, text))
    return caught.value.mistakes


def test_a_lane_over_evidence_names_no_model_and_any_label(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, PLAIN))
    assert config.lanes["robot"].model == "remote-evidence"
    assert check_config(written(tmp_path, PLAIN))[0] == config


def test_without_the_section_a_box_is_alone(tmp_path: Path) -> None:
    assert load_config(written(tmp_path, "node: a\n")).site is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([("insecure: true\n", "")], "without keys any box could speak for another"),
        ([("tcp/0", "tls/0")], "tls/ needs 'keys'"),
        ([("tcp/0.0.0.0:7447", "tcp/0.0.0.0")], "expected tls/ADDRESS:PORT"),
        ([("tcp/0.0.0.0:7447", "udp/0.0.0.0:7447")], "expected tls/ADDRESS:PORT"),
        ([("tcp/0.0.0.0:7447", "tcp/0.0.0.0:99999")], "expected tls/ADDRESS:PORT"),
        ([("boxes: [b]", "boxes: [b, region]")], "'region' is this box: name the others"),
        ([("boxes: [b]", "boxes: ['b/c']")], "a name has 1 to 32"),
        ([("boxes: [b], ", "")], "no box is heard: name the others under 'boxes'"),
        ([("[b/arm]", "[c/arm]")], "no box 'c' in site.boxes"),
        ([("[b/arm]", "[region/arm]")], "'arm' is a lane of this box"),
        ([("[b/arm]", "[b]")], "expected BOX/LANE, found 'b'"),
        ([("[b/arm]", "[]")], "from"),
        ([(", from: [b/arm]", "")], "from"),
        ([('site: {name: hall, boxes: [b], listen: ["tcp/0.0.0.0:7447"]}\n', "")], "needs the section 'site'"),
        ([("from: [b/arm]}", "from: [b/arm]}\n    model: person-coarse")], "goes with driver 'sensor.site'"),
        ([("driver: sensor.site, from: [b/arm]}", "driver: sensor.sim_arm}\n    model: remote-evidence")], "goes with"),
        ([("name: hall", "name: 'a/b'")], "1 to 32 letters"),
        ([("name: hall", "nmae: hall")], "nmae"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, changes: list[tuple[str, str]], message: str) -> None:
    found = mistakes(tmp_path, *changes)
    assert any(message in each for each in found), found
    assert all(re.match(r".*box\.yaml:\d+: ", each) for each in found)


def test_keys_of_another_box_and_an_open_key_are_named(tmp_path: Path) -> None:
    keys = Authority(tmp_path / "keys")
    folder, other = keys.make_box("region"), keys.make_box("b")
    secure = [("insecure: true\n", ""), ("tcp/", "tls/")]
    text = [*secure, ("name: hall,", f"name: hall, keys: {other},")]
    assert any("it is of the box 'b', and this one is 'region'" in each for each in mistakes(tmp_path, *text))
    (folder / "box.key").chmod(0o644)
    text[-1] = ("name: hall,", f"name: hall, keys: {folder},")
    assert any("chmod 600" in each for each in mistakes(tmp_path, *text))
    text[1] = ("tcp/", "tcp/")
    (folder / "box.key").chmod(0o600)
    assert any("is not encrypted, and there are keys" in each for each in mistakes(tmp_path, *text))


def test_the_example_of_the_readme_is_accepted(tmp_path: Path) -> None:
    text = (ROOT / "agent/site/README.md").read_text(encoding="utf-8")
    examples = re.findall(r"```yaml\n(node: .*?)```", text, re.DOTALL)
    assert len(examples) == 2
    keys = Authority(tmp_path / "keys")
    for example in examples:
        node = re.findall("node: (.*)", example)[0]
        folder = keys.make_box(node)
        config, cautions = check_config(written(tmp_path, example.replace("/etc/reflexd/site", str(folder))))
        assert config.node == node and cautions == []
