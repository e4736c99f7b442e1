"""Distillation: which label of a teacher is which of the student, its soft labels, and when they are used."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from agent.data import Box
from agent.decoders.base import Finding
from agent.offline import offline_lane
from agent.packages import package
from agent.perception import Perception
from agent.rules.engine import Rules
from agent.rules.scene import Scene
from models.train import distil
from models.train.data import DataError


def test_labels_match_by_any_of_their_names() -> None:
    known = ["background", "tabby, tabby cat", "Hot-Dog", "dog"]
    assert distil.match_labels(known, ["tabby_cat", "hot dog"]) == {"tabby, tabby cat": 0, "Hot-Dog": 1}


@pytest.mark.parametrize(
    "name, labels, takes_pictures, message",
    [
        ("unheard-of", ["normal", "x"], False, "teacher: no model package"),
        ("arm-deviation", ["normal", "x"], True, "needs readings, your samples are pictures"),
        ("person-coarse", ["person", "x"], False, "needs pictures, your samples are readings"),
        ("arm-deviation", ["good", "worn"], False, "none of your labels .good, worn.*: normal, deviation"),
    ],
)
def test_an_unsuitable_teacher_is_reported(name: str, labels: list[str], takes_pictures: bool, message: str) -> None:
    with pytest.raises(DataError, match=message):
        distil.open_teacher(name, labels, takes_pictures)


def test_a_classifiers_scores_are_added_and_a_detectors_best_counts() -> None:
    arm = distil.open_teacher("arm-deviation", ["collision", "normal", "odd"], pictures=False)
    assert distil.covered_labels(arm) == [0, 1]
    findings = [Finding("normal", 0.6), Finding("collision", 0.2), Finding("overspeed", 0.2)]
    assert distil.soft_labels(arm, findings) == pytest.approx([0.25, 0.75, 0])
    assert not distil.soft_labels(arm, [Finding("overspeed", 0.9), Finding("normal", 0.1)]).any()
    person = distil.open_teacher("person-coarse", ["nobody", "person"], pictures=True)
    assert distil.covered_labels(person) == [0, 1]
    boxes = [Finding("person", 0.6, Box(0, 0, 1, 1)), Finding("person", 0.7, Box(0, 0, 1, 1))]
    assert distil.soft_labels(person, boxes) == pytest.approx([0.3, 0.7])
    assert distil.soft_labels(person, []).tolist() == [1, 0]
    assert not np.isnan(distil.soft_labels(person, [Finding("person", float("nan"))])).any()


def test_soft_labels_are_the_teachers_logits_at_the_temperature() -> None:
    logits = np.random.default_rng(1).normal(0, 2, (20, 3))

    def softmax(values):
        return np.exp(values) / np.exp(values).sum(axis=1, keepdims=True)

    np.testing.assert_allclose(distil.soften(softmax(logits), range(3), 3.0), softmax(logits / 3.0), atol=1e-6)
    assert (distil.soften(np.array([[1.0, 0, 0]]), [0, 1], 2.0)[0] > 0).tolist() == [True, True, False]


def test_a_teacher_is_used_only_where_it_is_right_or_a_label_is_missing() -> None:
    labels = np.array([0, 0, 1, 1, 1, 1, -1])
    soft = np.array([[0.9, 0.1], [0, 0], [0.9, 0.1], [0.1, 0.9], [0.1, 0.9], [0.1, 0.9], [0.2, 0.8]], np.float32)
    targets = distil.targets(labels, soft, [0, 1])
    assert distil.agreement(labels, soft, [0, 1]) == (4, 5)
    assert targets[:, :2].sum(axis=1).tolist() == [0.5, 1, 1, 0.5, 0.5, 0.5, 0]
    assert (targets[:, 2:].sum(axis=1) > 0).tolist() == [True, False, False, True, True, True, True]
    soft[3] = soft[2]  # now it is right in 3 of 5: not trusted
    assert not distil.targets(labels, soft, [0, 1])[6].any()
    assert not distil.is_trusted(0, 0)


def test_a_teacher_labels_readings_as_in_a_lane() -> None:
    arm = distil.open_teacher("arm-deviation", ["normal", "deviation", "collision", "overspeed"], pictures=False)
    fault = {"kind": "deviation", "at_s": 0.1, "for_s": 1}
    lane = offline_lane(
        "arm", "sensor.sim_arm", {"faults": [fault]}, Perception(package.open_package(package.find("arm-deviation")))
    )
    samples, scores = [], []
    for sample, _ in islice(lane.play(Scene(Rules({}, {}))), 300):
        samples.append(sample.payload.copy())
        scores.append(lane.evidence or [])
    soft = distil.recording_labeller(arm, lane.source.channels)(np.concatenate(samples))
    assert not soft[:31].any() and soft[31:].sum(axis=1) == pytest.approx(1, abs=1e-5)
    for evidence, row in zip(scores[31:], soft[31:]):
        assert evidence[0].label == ("normal", "deviation", "collision", "overspeed")[row.argmax()]
    with pytest.raises(DataError, match="needs channel 'e1'"):
        distil.recording_labeller(arm, ("x", "y"))


def test_a_teacher_labels_a_picture() -> None:
    person = distil.open_teacher("person-coarse", ["nothing", "person"], pictures=True)
    shares = distil.picture_labeller(person)(np.random.default_rng(1).integers(0, 256, (240, 320, 3), np.uint8))
    assert shares.shape == (2,) and shares.sum() == pytest.approx(1)


def test_the_gradient_of_the_loss_is_that_of_hinton(tensorflow) -> None:
    """dC/dz of the soft part is (q - p) / T each, times T^2: Hinton et al. 2015, equation 2."""
    logits = np.random.default_rng(1).normal(0, 1, (4, 3)).astype(np.float32)
    soft = np.array([[0.6, 0.3, 0.1]] * 4, np.float32)
    temperature = 3.0
    wanted = np.concatenate([np.zeros_like(soft), soft * temperature**2], axis=1)
    with tensorflow.GradientTape() as tape:
        z = tensorflow.Variable(logits)
        tape.watch(z)
        loss = distil.loss(temperature)(wanted, tensorflow.nn.softmax(z))
    q = np.exp(logits / temperature) / np.exp(logits / temperature).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(tape.gradient(loss, z), (q - soft) * temperature, atol=1e-4)
