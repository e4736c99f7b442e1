"""A recording's header, checked: the configuration, the models and the decisions in force when the file begins."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, Json, ValidationError

from agent.config.models import Config
from agent.config.renamed import new_name
from agent.data import Decision
from agent.recorder.recording import RecordingContents, RecordingError


class Header(BaseModel):
    """models: sha256 of each. versions, engines: of each model. lane_engines: of each lane its models', in their order.
    together: lanes whose rules ran in one process; empty: all. Older recordings lack the last four.

    in_force: of each actuator number, rule, actuator, verb, dropped, explanation. lost_before: samples that earlier
    files lack.
    """

    config: Json[Config]
    path: Path
    models: Json[dict[str, str]]
    versions: Json[dict[str, str]] = {}
    engines: Json[dict[str, str]] = {}
    together: Json[list[list[str]]] = []
    lane_engines: Json[dict[str, list[str]]] = {}
    in_force: Json[dict[str, tuple[int, str, str, str, bool, str]]]
    lost_before: int

    @property
    def base_folder(self) -> Path:
        """The folder that the configuration's paths start from."""
        return self.path.parent

    def engines_of(self, lane: str) -> list[str]:
        """In the order of the lane's models; empty where none was recorded."""
        models = self.config.lanes[lane].models
        recorded = self.lane_engines.get(lane, ())
        return [*recorded] if len(recorded) == len(models) else [self.engines.get(model, "") for model in models]

    @property
    def complete(self) -> bool:
        """The file begins with its daemon: nothing that the rules remember is missing."""
        return not self.in_force and self.lost_before == 0

    def decisions_in_force(self) -> list[Decision]:
        return [
            Decision(
                number=number,
                rule=rule,
                actuator=actuator,
                verb=verb,
                arguments={},
                evidence=(),
                t_capture=0,
                deadline=0,
            )
            for number, rule, actuator, verb, *_ in self.in_force.values()
        ]


def read_header(contents: RecordingContents) -> Header:
    """Raises RecordingError."""
    try:
        return Header.model_validate(contents.header)
    except ValidationError as error:
        raise RecordingError(_explain(error, contents.header.get("version", "unknown"))) from error


def _explain(error: ValidationError, version: str) -> str:
    """One line about an old key, else about the first mistake."""
    mistakes = {mistake["loc"]: mistake["msg"] for mistake in error.errors(include_url=False)}
    for place in mistakes:
        new = new_name(place[1:]) if place[0] == "config" else None
        if new:
            return f"{_dotted(place)}: renamed to '{new}', but version {version} should not have the old key"
    place, message = next(iter(mistakes.items()))
    return f"{_dotted(place)}: damaged or of another version ({version}): {message}"


def _dotted(place: tuple[str | int, ...]) -> str:
    return ".".join(map(str, place))
