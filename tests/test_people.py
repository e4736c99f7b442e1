"""A second model that follows several persons: a window of poses for each track, and never another's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from agent.data import Array, Box
from agent.decoders.base import Finding
from agent.packages import package
from agent.packages.outputs import ModelFault
from agent.vision.people import FOLLOW_NS, MAX_PEOPLE, People
from agent.vision.poses import SecondModel
from tests.test_poses import lying, standing

RATE = 15  # pictures a second
ASPECT = 4 / 3


def at(points: Array, x: float, size: float = 0.5) -> Finding:
    """The person as a pose head reports them, smaller, and with the middle at x."""
    moved = points.copy()
    moved[:, 0] = 0.9 + (points[:, 0] - 0.9) * size
    moved[:, 1] = x + (points[:, 1] - 0.5) * size
    left, top, right, bottom = moved[:, 1].min(), moved[:, 0].min(), moved[:, 1].max(), moved[:, 0].max()
    return Finding("person", 0.8, Box(float(left), float(top), float(right), float(bottom)), keypoints=moved)


def faint(finding: Finding) -> Finding:
    """The same box with keypoints that are hardly detected."""
    assert finding.keypoints is not None
    return finding._replace(keypoints=finding.keypoints * np.array([1, 1, 0.1], np.float32))


def people() -> People:
    return People(SecondModel(package.open_package(package.find("pose-fall"))))


def time(number: float) -> int:
    return 10**9 + int(number / RATE * 1e9)


def play(model: People, pictures: Sequence[Sequence[Finding]], start: int = 0) -> list[list[Finding]]:
    return [model(time(start + number), persons, ASPECT) for number, persons in enumerate(pictures)]


def best(findings: Sequence[Finding], person: Finding) -> Finding:
    """The first finding with this person's box."""
    return next(finding for finding in findings if finding.box == person.box)


def falling_at(x: float, count: int = 12) -> list[Finding]:
    return [at(lying(share), x) for share in np.linspace(0, 1, count) ** 1.5]


def test_one_person_is_followed_as_a_single_one_is() -> None:
    """The same window, so the same labels and scores as of a network for one person."""
    model, single = people(), SecondModel(package.open_package(package.find("pose-fall")))
    for number, person in enumerate([at(lying(0), 0.5)] * 30 + falling_at(0.5) + [at(lying(), 0.5)] * 20):
        assert person.keypoints is not None
        expected = single(time(number), person.keypoints, ASPECT)
        findings = model(time(number), [person], ASPECT)
        assert [finding._replace(box=None) for finding in findings] == expected
        assert {finding.box for finding in findings} == {person.box}


def test_one_of_two_falls_and_the_finding_has_their_box() -> None:
    model, stays = people(), at(standing(), 0.25)
    falls = [at(lying(0), 0.75)] * 30 + falling_at(0.75) + [at(lying(), 0.75)] * 20
    results = play(model, [[stays, person] for person in falls])
    labels = [[best(findings, person).label for person in (stays, fell)] for findings, fell in zip(results, falls)]
    assert {label for label, _ in labels[15:]} == {"standing"}
    assert [label for _, label in labels[15:]].count("falling") >= 8 and labels[-1][1] == "lying"


def test_two_people_who_cross_keep_their_own_windows() -> None:
    """One walks to the right and falls there, one to the left and stands; they are listed in any order."""
    random, model, count = np.random.default_rng(0), people(), 60
    pictures, numbers = [], []
    for step in range(count):
        share = step / (count - 1)
        pair = [at(standing(), 0.2 + 0.6 * share), at(standing(), 0.8 - 0.6 * share)]
        pictures.append([pair[number] for number in random.permutation(2)])
    for number, picture in enumerate(pictures):
        model(time(number), picture, ASPECT)
        numbers.append([track.number for track in sorted(model.tracks.all, key=lambda t: t.box.left)])
    assert numbers[0] != numbers[-1] and set(map(len, numbers)) == {2}  # the same two, on the other sides
    left = at(standing(), 0.2)
    window = model.windows[numbers[-1][1]]
    travelled = window.points[-1, :, 1] - window.points[-count, :, 1]
    assert window.frames == count and np.allclose(travelled, 0.6, atol=1e-3)
    results = play(model, [[left, person] for person in falling_at(0.8)] + [[left, at(lying(), 0.8)]] * 20, count)
    assert best(results[-1], left).label == "standing"
    assert best(results[-1], at(lying(), 0.8)).label == "lying"


def test_a_person_who_is_hidden_for_a_moment_is_the_same_afterwards() -> None:
    model = people()
    pair = [at(standing(), 0.3), at(standing(), 0.7)]
    play(model, [pair] * 20 + [pair[:1]] * 5 + [pair] * 5)
    assert list(model.windows) == [1, 2]


def test_a_track_that_ends_frees_its_window() -> None:
    model, pair = people(), [at(standing(), 0.3), at(standing(), 0.7)]
    play(model, [pair] * 20)
    assert len(model.free) == MAX_PEOPLE - 2
    after = 21 + int(FOLLOW_NS / 1e9 * RATE)
    assert {finding.box for finding in model(time(after), pair[:1], ASPECT)} == {pair[0].box}
    assert model(time(2 * after), [], ASPECT) == []
    assert len(model.free) == MAX_PEOPLE and not model.windows


def test_a_window_that_was_anothers_starts_empty() -> None:
    model = people()
    play(model, [falling_at(0.3)[:1]] + [[person] for person in falling_at(0.3)])
    (finding, *_) = model(time(100), [at(standing(), 0.8)], ASPECT)
    (window,) = model.windows.values()
    assert window.frames == 1 and finding.label == "standing"


def test_more_people_than_windows_are_bounded_and_the_first_keep_theirs() -> None:
    model = people()
    crowd = [at(standing(), 0.03 + 0.06 * number, 0.1) for number in range(16)]
    for findings in play(model, [crowd[:3], *[crowd] * 10]):
        assert len({finding.box for finding in findings}) <= MAX_PEOPLE
    assert len(model.windows) == MAX_PEOPLE and set(model.windows) >= {1, 2, 3}
    assert [finding.box for finding in model(time(12), crowd, ASPECT)][0] == crowd[0].box


def test_findings_are_in_the_order_in_which_people_came() -> None:
    model, pair = people(), [at(standing(), 0.3), at(standing(), 0.7)]
    boxes = [dict.fromkeys(f.box for f in model(time(n), pair[:: 1 if n % 2 else -1], ASPECT)) for n in range(10)]
    assert {tuple(each) for each in boxes} == {(pair[1].box, pair[0].box)}


def test_who_lies_and_is_no_longer_detected_is_remembered_in_their_place() -> None:
    model, stays, lies = people(), at(standing(), 0.2), at(lying(), 0.8)
    play(model, [[stays, lies]] * 45)
    for number in (46, 60, 200, 400):  # hardly detected, then not at all
        findings = model(time(number), [stays, faint(lies)] if number < 60 else [stays], ASPECT)
        assert (best(findings, lies).label, best(findings, stays).label) == ("lying", "standing")
    assert best(model(time(401), [stays, at(standing(), 0.2)], ASPECT), lies).label == "lying"  # another person
    results = play(model, [[stays, at(standing(), 0.62)]] * 3, 402)  # whose box overlaps the place
    assert best(results[-1], lies).label == "lying"
    results = play(model, [[stays, lies]] * 30, 405)  # detected again, under another number
    assert [finding.label for finding in results[-1] if finding.box == lies.box][0] == "lying"
    assert len(model.lasting) == 1
    end = 435 + RATE * (int(model.poses.memory_s) + 1)
    assert {finding.box for finding in model(time(end), [stays], ASPECT)} == {stays.box}


def test_remembered_people_are_bounded() -> None:
    model = people()
    for number in range(3 * MAX_PEOPLE):
        place = at(lying(), 0.04 * number, 0.3)
        play(model, [[place]] * 20, 60 * number)
    assert len(model.lasting) <= MAX_PEOPLE and len(model.free) == MAX_PEOPLE - 1


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_keypoints_of_any_numbers_do_no_harm_to_the_others(value: float) -> None:
    model, stays, odd = people(), at(standing(), 0.25), at(standing(), 0.75)
    assert odd.keypoints is not None
    odd.keypoints[:, :2] = value
    results = play(model, [[stays, odd]] * 30)
    assert best(results[-1], stays).label == "standing"
    assert all(0 <= finding.score <= 1 for findings in results for finding in findings)


def test_a_fault_in_mid_picture_changes_nothing_that_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not recorded, so a replay does not have it."""
    model, other = people(), people()
    pair = [at(lying(), 0.2, 0.4), at(lying(), 0.8, 0.4)]
    for each in (model, other):
        play(each, [pair] * 45)
    calls = [model.model.package.infer()]

    def fails_second() -> list[Finding]:
        calls.append([])
        if len(calls) > 2:
            raise ModelFault("broken")
        return calls[0]

    with monkeypatch.context() as patch, pytest.raises(ModelFault):
        patch.setattr(model.model.package, "infer", fails_second)
        model(time(46), [at(standing(), 0.2), pair[1]], ASPECT)
    for each in (model, other):
        each.restart()
    for number in (50, 51, 90):
        persons = [at(standing(), 0.5)]
        assert model(time(number), persons, ASPECT) == other(time(number), persons, ASPECT)
