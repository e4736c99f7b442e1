"""Which change `reflexd tune` proposes: the cheapest that meets the budget and loses no event of the recording."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.tune.candidates import Candidate
from agent.tune.measure import Measured
from agent.tune.propose import Outcome, Search, together
from agent.tune.trace import Trace, parts, taken
from tests.tuning import FRAME, PRESENT, Given, config, trace

ENGINE = Candidate("engine", {("backend",): "openvino"})
THREADS = Candidate("threads", {("threads",): 2})
SHRINK = Candidate("shrink", {("shrink",): 2})
SMALL = Candidate("model", {("model",): "person-coarse"})
BLOBS = Candidate("model", {("model",): "motion-blobs"})
CROP = Candidate("crop", {("gate",): {"motion": {"crop": True}}})


def search(
    folder: Path,
    own: Trace,
    results: dict[str, Measured],
    offered: list[Candidate],
    rescue: Candidate | None = None,
    late_ms: float | None = None,
) -> tuple[Outcome, Given]:
    """For a budget of 10 ms."""
    given = Given(own, results)
    outcome = Search(config(folder), "floor", {"floor": own}, given, late_ms).run(10.0, offered, rescue)
    return outcome, given


def proposed(outcome: Outcome) -> str:
    assert outcome.proposal
    return outcome.proposal.row.candidate.text


def reasons(outcome: Outcome) -> dict[str, str]:
    return {row.candidate.text: row.reason for row in outcome.rows}


def test_a_robot_cell_at_15_ms_ends_below_10_with_a_smaller_model(tmp_path: Path) -> None:
    results: dict[str, Measured] = {
        THREADS.text: trace(inference_ms=12.0),
        SMALL.text: trace(inference_ms=1.0),
        BLOBS.text: trace(PRESENT[30:], inference_ms=3.0),
    }
    outcome, given = search(tmp_path, trace(), results, [THREADS, SMALL, BLOBS])
    assert not outcome.met and outcome.measured.costly == "inference"
    assert outcome.measured.p50 == pytest.approx(15.02)
    assert proposed(outcome) == "model: person-coarse"
    assert reasons(outcome) == {
        "threads: 2": "over the budget",
        "model: person-coarse": "",
        "model: motion-blobs": "loses 1 of 2 events, at 1 s",
    }
    proposal = outcome.proposal
    assert proposal and proposal.row.latency and proposal.row.kept
    assert proposal.before.p99 > 15 > 10 > proposal.row.latency.p99
    assert (proposal.events_before.kept, proposal.row.kept.kept) == (2, 2)
    assert given.runs[-1] == ["", "model: person-coarse"], "measured again, in turns with the lane as it is alone"


def test_a_change_that_alters_no_answer_goes_before_a_smaller_model(tmp_path: Path) -> None:
    fast = trace(inference_ms=8.0)
    for cheap in (ENGINE, THREADS, SHRINK):
        results: dict[str, Measured] = {cheap.text: fast, SMALL.text: trace(inference_ms=1.0)}
        outcome, _ = search(tmp_path, trace(), results, [SMALL, cheap])
        assert proposed(outcome) == cheap.text


def test_changes_that_do_not_suffice_alone_are_joined(tmp_path: Path) -> None:
    own = trace(inference_ms=9.0, preprocess_ms=6.0)
    results: dict[str, Measured] = {
        "threads: 2": trace(inference_ms=5.0, preprocess_ms=6.0),
        "shrink: 2": trace(inference_ms=9.0, preprocess_ms=3.0),
        "threads: 2; shrink: 2": trace(inference_ms=5.0, preprocess_ms=3.0),
    }
    outcome, _ = search(tmp_path, own, results, [THREADS, SHRINK])
    assert proposed(outcome) == "threads: 2; shrink: 2"


def test_a_model_that_loses_events_is_tried_on_what_moves_alone(tmp_path: Path) -> None:
    results: dict[str, Measured] = {
        "model: person-coarse": trace(PRESENT[30:], inference_ms=1.0),
        "model: person-coarse; gate: {motion: {crop: True}}": trace(inference_ms=1.0, preprocess_ms=2.0),
    }
    outcome, _ = search(tmp_path, trace(), results, [SMALL], CROP)
    assert proposed(outcome) == "model: person-coarse; gate: {motion: {crop: True}}"


def test_a_camera_lane_that_cannot_be_met_has_the_nearest_change_and_what_limits_it(tmp_path: Path) -> None:
    results: dict[str, Measured] = {THREADS.text: trace(inference_ms=11.0), SMALL.text: trace((), inference_ms=1.0)}
    outcome, _ = search(tmp_path, trace(), results, [THREADS, SMALL])
    assert outcome.proposal is None and not outcome.met
    assert outcome.nearest and outcome.nearest.candidate == THREADS
    assert outcome.nearest.p99 - outcome.budget_ms == pytest.approx(2.02)
    assert outcome.nearest.latency and outcome.nearest.latency.costly == "inference"


def test_a_lane_within_its_budget_is_left_alone(tmp_path: Path) -> None:
    outcome, given = search(tmp_path, trace(inference_ms=5.0), {}, [THREADS])
    assert outcome.met and not outcome.rows and not given.runs


def test_without_an_event_only_what_alters_no_answer_is_proposed(tmp_path: Path) -> None:
    nobody = trace(())
    results: dict[str, Measured] = {SMALL.text: trace((), inference_ms=1.0)}
    outcome, _ = search(tmp_path, nobody, results, [SMALL])
    assert outcome.proposal is None and not outcome.rows
    results[THREADS.text] = trace((), inference_ms=7.0)
    outcome, _ = search(tmp_path, nobody, results, [SMALL, THREADS])
    assert proposed(outcome) == "threads: 2"


def test_what_does_not_run_is_named_and_hides_no_other_change(tmp_path: Path) -> None:
    results: dict[str, Measured] = {ENGINE.text: "golden outputs differ", SMALL.text: trace(inference_ms=1.0)}
    outcome, _ = search(tmp_path, trace(), results, [ENGINE, SMALL])
    assert reasons(outcome)["backend: openvino"] == "does not run: golden outputs differ"
    assert proposed(outcome) == "model: person-coarse"


def test_the_int8_twin_of_a_model_goes_before_another_model(tmp_path: Path) -> None:
    twin = Candidate("model", {("model",): "mine-int8"}, twin=True)
    results: dict[str, Measured] = {
        twin.text: trace(inference_ms=6.0, int8=True),
        SMALL.text: trace(inference_ms=1.0, int8=True),
    }
    outcome, _ = search(tmp_path, trace(), results, [SMALL, twin])
    assert proposed(outcome) == "model: mine-int8"
    assert [row.candidate.kind for row in outcome.rows] == ["model", "INT8"]


def test_a_proposal_that_misses_when_it_is_measured_again_is_dropped(tmp_path: Path) -> None:
    class Slower(Given):
        def __call__(self, lane, settings):  # type: ignore[no-untyped-def]
            self.results = {**self.results, **({"threads: 2": trace(inference_ms=12.0)} if self.runs else {})}
            return super().__call__(lane, settings)

    given = Slower(trace(), {"threads: 2": trace(inference_ms=8.0), "model: person-coarse": trace(inference_ms=1.0)})
    search = Search(config(tmp_path), "floor", {"floor": trace()}, given, None)
    assert proposed(search.run(10.0, [THREADS, SMALL])) == "model: person-coarse"


def test_two_changes_that_lose_an_event_only_together_are_not_both_proposed(tmp_path: Path) -> None:
    other = {"source": {"driver": "camera.sim"}, "model": "objects"}
    conditions = [{"lane": lane, "label": "person", "score": 0.5} for lane in ("floor", "gate")]
    made = config(tmp_path, {"gate": other}, {"any": conditions})  # either of them sees the person
    traces = {"floor": trace(), "gate": trace(lane="gate")}
    outcomes = []
    for lane in traces:
        given = Given(traces[lane], {SMALL.text: trace(PRESENT[30:], inference_ms=1.0, lane=lane)})
        outcomes.append(Search(made, lane, traces, given, None).run(10.0, [SMALL]))
    assert [proposed(outcome) for outcome in outcomes] == [SMALL.text] * 2, "each alone loses nothing"
    first, second = together(made, traces, outcomes, None)
    assert first.proposal and second.proposal is None and second.conflict


def test_a_lane_slower_than_its_source_passes_samples_over_and_the_others_wait() -> None:
    steps = trace(inference_ms=49.0, preprocess_ms=0.98, period_ms=30.0).steps
    order = [(step.t_capture // 30_000_000, queueing / 1e6) for step, queueing in taken(steps)]
    assert order[:5] == [(0, 0.0), (1, 20.0), (3, 10.0), (5, 0.0), (6, 20.0)]


def test_the_parts_add_up_to_the_total_and_the_transport_counts_once() -> None:
    measured = trace(inference_ms=40.0)
    late = measured._replace(steps=[step._replace(transport=4_000_000) for step in measured.steps])
    by_part = parts(late)
    total = by_part.pop("total")
    assert sum(by_part.values()) == pytest.approx(total)
    assert by_part["transport"].max() <= 4.0 and by_part["queueing"].max() > 4.0


def test_the_frame_of_the_trace_is_that_of_the_pictures() -> None:
    assert trace().frame == FRAME
