"""Whole groups are held out: persons, machines, days, by a pattern on paths."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.train.data import DataError
from models.train.folder.examples import Counts, Examples, count_by_group
from models.train.folder.files import File
from models.train.folder.groups import hold_out, name_groups

FOLDER = Path("data")
LABELS = ["high", "low"]


def listed(*names: str, label: int = 0) -> list[File]:
    return [File(FOLDER / name, label) for name in names]


def own(files: list[File]) -> list[set[int]]:
    return [{file.label} for file in files]


@pytest.mark.parametrize(
    "pattern, groups",
    [
        ("(p[0-9]+)", ["p1", "p2"]),
        ("p(?P<person>[0-9]+)", ["1", "2"]),
        ("(day)?.*p(?P<person>[0-9]+)", ["1", "2"]),
        ("([^/]+)/[^/]*$", ["monday", "low"]),
    ],
)
def test_the_first_or_named_bracket_is_the_group(pattern: str, groups: list[str]) -> None:
    files = listed("low/monday/p1-a.csv", "low/p2-b.csv")
    assert [file.group for file in name_groups(files, FOLDER, pattern)] == groups


@pytest.mark.parametrize(
    "pattern, words",
    [
        ("(q[0-9])", "matches none of 2 files, and not 'low/p1.csv': every file needs a group"),
        ("(p1)", "matches only 1 of 2 files, and not 'low/p2.csv'"),
        ("(x*)", "matches none of 2 files"),
        ("p[0-9]", "has no brackets"),
        ("(p[0-9]", "is not a regular expression"),
    ],
)
def test_a_pattern_that_finds_no_group_is_one_message(pattern: str, words: str) -> None:
    with pytest.raises(DataError) as error:
        name_groups(listed("low/p1.csv", "low/p2.csv"), FOLDER, pattern)
    assert words in str(error.value) and "\n" not in str(error.value)


def people(count: int) -> list[File]:
    names = [f"p{person}-{run}.csv" for person in range(count) for run in range(3)]
    files = listed(*(f"low/{name}" for name in names)) + listed(*(f"high/{name}" for name in names), label=1)
    return name_groups(files, FOLDER, "(p[0-9]+)")


@pytest.mark.parametrize("count, held_out", [(2, 1), (4, 1), (8, 2), (12, 3)])
def test_no_group_is_on_both_sides(count: int, held_out: int) -> None:
    files = people(count)
    for seed in range(20):
        split = hold_out(files, own(files), LABELS, seed)
        sides = [{file.group for file in split if file.test == test} for test in (True, False)]
        assert len(sides[0]) == held_out and not sides[0] & sides[1] and len(split) == len(files)
    assert hold_out(files, own(files), LABELS, 7) == hold_out(files, own(files), LABELS, 7)


def test_each_label_is_on_both_sides_even_where_few_groups_have_it() -> None:
    files = people(9)
    rare = [file for file in files if file.label == 0 or file.group in ("p3", "p8")]
    for seed in range(30):
        split = hold_out(rare, own(rare), LABELS, seed)
        assert {(file.label, file.test) for file in split} == {(0, False), (0, True), (1, False), (1, True)}


@pytest.mark.parametrize(
    "keep, words",
    [
        (lambda file: file.group == "p1", "all files are in the one group 'p1'"),
        (lambda file: file.label == 0 or file.group == "p2", "label 'low' is only in group 'p2'"),
        (lambda file: file.label == 0, "label 'low': no file and no event has it"),
        (lambda file: (file.label == 0) == (file.group == "p1"), "label 'high' is only in group 'p1'"),
    ],
)
def test_groups_that_cannot_be_split_are_one_message(keep, words: str) -> None:
    files = [file for file in people(3) if keep(file)]
    with pytest.raises(DataError, match=words):
        hold_out(files, own(files), LABELS, 7)


def test_labels_that_exclude_each_other_on_every_split_are_one_message() -> None:
    """With two groups each, one of a pair is always on the wrong side."""
    sets = [{0}, {0, 1}, {1, 2}, {2}]
    files = [File(FOLDER / f"{name}.csv", 0, group=name) for name in "abcd"]
    split = hold_out(files, sets, ["a", "b", "c"], 7)
    assert {file.group for file in split if file.test} in ({"b", "d"}, {"a", "c"})
    sets = [{0, 1}, {1, 2}, {0, 2}]
    with pytest.raises(DataError, match="no choice of groups to hold out leaves every label on both sides"):
        hold_out(files[:3], sets, ["a", "b", "c"], 7)


def test_what_has_no_label_is_not_learned_from_where_its_group_is_held_out(capsys) -> None:
    files = people(4) + name_groups(listed(*(f"unlabelled/p{n}.csv" for n in range(4)), label=-1), FOLDER, "(p[0-9])")
    split = hold_out(files, own(files), LABELS, 7)
    held_out = {file.group for file in split if file.test}
    unlabelled = [file for file in split if file.label < 0]
    assert len(unlabelled) == 3 and not any(file.test or file.group in held_out for file in unlabelled)
    assert "1 files without a label left out: their group is held out" in capsys.readouterr().err


def test_scores_are_counted_by_group() -> None:
    scores = np.array([[0.9, 0.1], [0.4, 0.6], [0.9, 0.1], [0.6, 0.4], [0.6, 0.4]])
    labels, files = np.array([0, 0, 0, 1, 1]), np.array([0, 0, 1, 1, 2])
    samples = Examples(labels, labels, labels, files, labels, files)
    assert count_by_group(scores, samples, ["p", "q", "p"]) == {"p": Counts(1, 3, 1, 2), "q": Counts(1, 2, 1, 1)}
    assert count_by_group(scores, samples, ["", "", ""]) == {}
