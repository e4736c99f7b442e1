"""YAML as configuration: plain values with their lines, and one clear line for everything else."""

import os
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, ValidationError

from agent import yamlfile
from agent.section import explain
from agent.yamlfile import YamlError

FILE = Path("cell.yaml")


def parse(text):
    return yamlfile.parse(text.encode() if isinstance(text, str) else text, FILE)


def refusal(text):
    with pytest.raises(YamlError) as caught:
        parse(text)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("cell.yaml:")
    return message.removeprefix("cell.yaml:")


def laughs(levels):
    lines = ["a0: &a0 [ha, ha, ha, ha, ha, ha, ha, ha, ha]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, levels)]
    return "\n".join(lines)


def test_plain_values_and_their_lines():
    document = parse(
        "# a cell\nlanes:\n  cam:\n    cores: [0, 1]\n    rate: 1.5\n  mic: {on: true, note: 'yes'}\nnone:\n"
    )
    assert document.data == {
        "lanes": {"cam": {"cores": [0, 1], "rate": 1.5}, "mic": {"on": True, "note": "yes"}},
        "none": None,
    }
    assert [type(value) for value in document.data["lanes"]["mic"].values()] == [bool, str]
    places = [
        ("lanes",),
        ("lanes", "cam"),
        ("lanes", "cam", "cores", 1),
        ("lanes", "cam", "rate"),
        ("lanes", "mic", "note"),
    ]
    assert [document.at(place) for place in places] == [f"cell.yaml:{line}" for line in (2, 3, 4, 5, 6)]


def test_a_place_that_does_not_exist_has_the_line_above_it():
    document = parse("a:\n  b:\n    c: 1\n")
    assert document.at(("a", "b", "x", 3)) == "cell.yaml:2"
    assert document.at(("x",)) == "cell.yaml:1"


def test_aliases_and_merges_are_resolved():
    document = parse("base: &base {x: 1, y: 2}\none:\n  <<: *base\n  y: 3\ntwo: *base\n")
    assert document.data["one"] == {"x": 1, "y": 3}
    assert document.data["two"] == {"x": 1, "y": 2}
    assert document.at(("one", "y")) == "cell.yaml:4"
    assert document.at(("one", "x")) == "cell.yaml:2"


def test_a_byte_order_mark_is_accepted():
    assert parse(b"\xef\xbb\xbfnode: cell\n").data == {"node": "cell"}


@pytest.mark.parametrize(
    "text, line, expected",
    [
        ("a: [1\nb: 2\n", 2, "expected"),
        ("a: b: c\n", 1, "mapping values are not allowed"),
        ("a: 1\n\tb: 2\n", 2, "'\\t' that cannot start any token"),
        ("a: 1\nb:\n  c: 1\n  c: 2\n", 4, "key 'c' appears twice"),
        ("a: 1\na: 2\n", 2, "key 'a' appears twice"),
        ("{a: rtsp://u:x,Zebra,b,Zebra,c@h}\n", 1, "not valid YAML: a key appears twice"),
        ("{a: rtsp://u:x,Zebra: y,b,Zebra: y,c@h}\n", 1, "not valid YAML: a key appears twice"),
        ('"a": 1\n"b": 1\n"a": 2\n', 3, "key 'a' appears twice"),
        ("- a: 1\n- b: 1\n  b: 2\n", 3, "key 'b' appears twice"),
        ("a:\n  1: x\n  '1': y\n", 1, "twice"),
        ("a:\n  ~: x\n", 2, "a key must be a plain word"),
        ("a: *nowhere\n", 1, "undefined alias"),
        ("a: 1\nb: !!python/object/apply:os.system [ls]\n", 2, "tags and objects are not allowed"),
        ("a: !!python/object:os.x {y: 1}\n", 1, "tags and objects are not allowed"),
        ("a: !!python/name:os.system x\n", 1, "tags and objects are not allowed"),
        ("a:\n  - !mine x\n", 2, "tags and objects are not allowed"),
        ("a: 2026-01-01\n", 1, "dates"),
        ("a: !!set {x, y}\n", 1, "tags and objects are not allowed"),
        ("a: !!binary aGVsbG8=\n", 1, "tags and objects are not allowed"),
        ("%YAML 3.0\n---\na: 1\n", 1, "incompatible"),
        ("a: 1\n---\nb: 2\n", 2, "another document"),
        ("a: x\0y\n", 1, "#x0000"),
        ("", 1, "the file is empty: expected 'key: value' lines"),
        ("# nothing\n", 1, "the file is empty: expected 'key: value' lines"),
        ("just words\n", 1, "expected 'key: value' lines, found text"),
        ("- a\n- b\n", 1, "expected 'key: value' lines, found a list"),
        (laughs(9), 1, "not a configuration"),
        ("\n".join(" " * depth + "a:" for depth in range(30)), 21, "20 levels"),
        ("a:\n" + "- b\n" * (yamlfile.MAX_NODES + 1), yamlfile.MAX_NODES, "values"),
    ],
)
def test_a_mistake_has_its_line(text, line, expected):
    number, sentence = refusal(text).split(": ", 1)
    assert int(number) == line
    assert expected in sentence


@pytest.mark.parametrize("text", ["a: &a\n  b:\n    c: *a\n", "a: &a [b, *a]\n", "&a a: *a\n"])
def test_a_value_that_contains_itself_ends(text):
    try:
        document = parse(text)
    except YamlError:
        return
    assert len(document.lines) < 10


@pytest.mark.parametrize(
    "raw, expected",
    [
        (b"node: \xff\xfe\n", "not UTF-8 text (byte 6)"),
        ("node: cell\n".encode("utf-16"), "not UTF-8 text (byte 0)"),
        (b"#" * (yamlfile.MAX_BYTES + 1), "larger than"),
        (b"a: " + b"[" * 1000, "not valid YAML"),
        (b"a: " + b"9" * 5000, "not valid YAML"),
    ],
)
def test_bytes_that_are_not_a_configuration_are_refused(raw, expected):
    assert expected in refusal(raw)


def test_a_file_that_cannot_be_read(tmp_path):
    for path, expected in ((tmp_path / "none.yaml", "No such file"), (tmp_path, "is no regular file but a folder")):
        with pytest.raises(YamlError, match=expected):
            yamlfile.read(path)


def test_a_file_is_not_read_beyond_the_limit(tmp_path):
    path = tmp_path / "large.yaml"
    path.touch()
    os.truncate(path, 1 << 40)
    with pytest.raises(YamlError, match="larger than"):
        yamlfile.read(path)


def test_nothing_in_a_file_is_ever_executed(tmp_path):
    mark = tmp_path / "mark"
    for tag in ("!!python/object/apply:os.mkdir", "!!python/object/new:os.mkdir", "!python/object/apply:os.mkdir"):
        with pytest.raises(YamlError):
            parse(f"a: {tag} ['{mark}']\n")
    assert not mark.exists()


@given(st.text(st.characters(codec="utf-8"), max_size=60) | st.text("ab:-[]{}&*!|>%@`'\"#,? \n\t01.~<", max_size=60))
def test_any_text_is_a_document_or_refused(text):
    try:
        document = parse(text)
    except YamlError as error:
        assert str(error).startswith("cell.yaml:")
        return
    assert type(document.data) is dict


@given(st.binary(max_size=60))
def test_any_bytes_are_a_document_or_refused(raw):
    try:
        document = parse(raw)
    except YamlError:
        return
    assert type(document.data) is dict


# -- mistakes in values -----------------------------------------------------------------------------------------------


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    rate_hz: float
    either: float | list[float] = 0.0


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str = ""
    inner: Inner | None = None
    many: list[Inner] = []
    named: dict[str, Inner] = {}


def mistakes(text):
    document = parse(text)
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(document.data)
    return [line.removeprefix("cell.yaml:") for line in explain(document, caught.value, Outer)]


@pytest.mark.parametrize(
    "text, expected",
    [
        ("nmae: x\n", "1: unknown key 'nmae'; did you mean 'name'?"),
        ("xyz: x\n", "1: unknown key 'xyz'; valid here: inner, many, name, named"),
        ("inner:\n  rate_hz: 1\n  rate_s: 2\n", "3: unknown key 'inner.rate_s'; did you mean 'rate_hz'?"),
        ("many:\n  - rate_hz: 1\n    rat_hz: 2\n", "3: unknown key 'many.0.rat_hz'; did you mean 'rate_hz'?"),
        ("named:\n  a:\n    rate_hz: 1\n    rate: 2\n", "4: unknown key 'named.a.rate'; did you mean 'rate_hz'?"),
        ("name: x\ninner: {}\n", "2: 'inner.rate_hz' is missing"),
        ("name: 5\n", "1: 'name': expected text, found 5"),
        ("name:\n", "1: 'name': expected text, found nothing"),
        ("inner: 7\n", "1: 'inner': expected lines of 'key: value', found 7"),
        ("named: 7\n", "1: 'named': expected lines of 'key: value', found 7"),
        ("named:\n  a:\n", "2: 'named.a': expected lines of 'key: value', found nothing"),
    ],
)
def test_a_mistake_has_line_key_expectation_and_advice(text, expected):
    assert mistakes(text) == [expected]


def test_a_unit_in_a_value_gets_its_own_advice():
    (mistake,) = mistakes("inner:\n  rate_hz: 10Hz\n")
    assert mistake.startswith("2: 'inner.rate_hz': expected a number")
    assert mistake.endswith("found '10Hz'; write the bare number, the unit is in the key's name")


def test_a_value_that_fits_no_member_of_a_union_is_one_mistake():
    (mistake,) = mistakes("inner:\n  rate_hz: 1\n  either: {x: 1}\n")
    assert mistake == "3: 'inner.either': expected a number or a list"


def test_every_mistake_is_reported():
    assert [mistake.split(":")[0] for mistake in mistakes("name: 1\ninner:\n  rate_hz: x\nmany: 3\n")] == [
        "1",
        "3",
        "4",
    ]


def test_a_long_value_is_not_repeated_whole():
    (mistake,) = mistakes("inner:\n  rate_hz: " + "".join(random.Random(1).choices("abc", k=5000)) + "\n")
    assert len(mistake) < 250
