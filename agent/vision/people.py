"""Several persons in a picture: each that is tracked has a window of poses of their own for the second model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agent.data import Box
from agent.decoders.base import Finding
from agent.prepare.base import Preparation
from agent.vision.poses import MIN_KEYPOINTS, PoseWindow, SecondModel
from agent.vision.tracks import Track, Tracks, overlap

MAX_PEOPLE = 8  # with a window; who comes later gets one when another track ends
FOLLOW_NS = 1_000_000_000  # a track that is not detected for longer has ended
SAME_PERSON = 0.3  # overlap from which a person is the one who was lost there


class People:
    """The second model, once for each tracked person. Pure: time comes with the picture."""

    def __init__(self, model: SecondModel) -> None:
        self.model, self.poses = model, model.poses
        self.tracks = Tracks(FOLLOW_NS)
        self.free = [PoseWindow(model.poses, model.engine.inputs[0]) for _ in range(MAX_PEOPLE)]
        self.windows: dict[int, PoseWindow] = {}  # by number of the track
        # Of each track, also past its end: when its best label was last a lasting one, and that finding.
        self.lasting: dict[int, tuple[int, Finding]] = {}
        self.span_ns = FOLLOW_NS + model.window.span_ns  # what a finding may depend on

    def exchange(self) -> None:
        """Their model is another version."""
        for window in (*self.free, *self.windows.values()):
            window.set_tensor(self.model.engine.inputs[0])

    def restart(self) -> None:
        """Forget where people were, not who lies: that is changed last, and so never by a picture that failed."""
        self.tracks.all.clear()
        self._assign([])

    def __call__(self, now: int, persons: Sequence[Finding], aspect: float) -> list[Finding]:
        """What the second model finds of each, oldest track first, with the person's box. Raises ModelFault.

        persons: with box and keypoints, in shares of the frame. aspect: its width / height.
        """
        tracks = self.tracks(now, persons)
        self._assign(tracks)
        results: dict[int, list[Finding]] = {}
        for track in tracks:
            if track.t_detected == now and track.number in self.windows:
                findings = self._infer(now, track.finding, aspect, self.windows[track.number])
                if findings is not None:
                    results[track.number] = findings
        self._remember(now, results)
        return [
            finding
            for number in sorted({*results, *self.lasting})
            for finding in (results[number] if number in results else [self.lasting[number][1]])
        ]

    def _assign(self, tracks: Sequence[Track]) -> None:
        """A window for each track, as far as they go, the oldest first; those of tracks that ended are free again."""
        alive = {track.number for track in tracks}
        self.free += [self.windows.pop(number) for number in list(self.windows) if number not in alive]
        for track in tracks:
            if track.number not in self.windows and self.free:
                window = self.windows[track.number] = self.free.pop()
                window.reset()

    def _infer(self, now: int, person: Finding, aspect: float, window: PoseWindow) -> list[Finding] | None:
        """None where too little of the person is detected, as in SecondModel. Raises ModelFault."""
        assert person.keypoints is not None
        window(now, person.keypoints, aspect, self.model.engine.input(0))
        if np.count_nonzero(person.keypoints[:, 2] >= self.poses.min_score) < MIN_KEYPOINTS:
            return None
        return [finding._replace(box=person.box) for finding in self.model.package.infer()]

    def _remember(self, now: int, results: dict[int, list[Finding]]) -> None:
        """Pose networks lose a person who lies on the floor: what they were stays true for a while, in its place."""
        for number, findings in results.items():
            self.lasting.pop(number, None)
            if findings:
                self._forget_at(findings[0].box, results)
                if findings[0].label in self.poses.lasting:
                    self.lasting[number] = now, findings[0]
        memory_ns = self.poses.memory_s * 1e9
        kept = [(t, number) for number, (t, _) in self.lasting.items() if 0 <= now - t < memory_ns or number in results]
        newest = {number for _, number in sorted(kept)[-MAX_PEOPLE:]}
        self.lasting = {number: entry for number, entry in self.lasting.items() if number in newest}

    def _forget_at(self, box: Box | None, results: dict[int, list[Finding]]) -> None:
        """The person who was lost there is detected again, under another number."""
        for number, (_, finding) in list(self.lasting.items()):
            if number not in results and box and finding.box and overlap(box, finding.box) >= SAME_PERSON:
                del self.lasting[number]


def in_frame(finding: Finding, preparation: Preparation) -> Finding:
    """Box and keypoints on a model's input as those on the frame."""
    if finding.keypoints is not None:
        finding = finding._replace(keypoints=preparation.unmap_points(finding.keypoints))
    return finding._replace(box=preparation.unmap(finding.box)) if finding.box else finding
