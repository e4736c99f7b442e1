"""What a box knows of one model's versions: in use, on trial, rejected, held, and how it came to that."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

CONFIGURED = "configured"  # in place of a version: the package that the configuration names, bundled or by its path
VERSION_PATTERN = r"[0-9A-Za-z][0-9A-Za-z._+-]{0,63}"  # it is a folder's name, here and in the repository
KEPT_EVENTS, KEPT_REJECTED = 100, 200

Stage = Literal["shadow", "probation"]


class Trial(BaseModel):
    """A version that must prove itself. starts: of the daemon since it is on trial."""

    version: str
    stage: Stage = "shadow"
    starts: int = Field(default=0, ge=0)


class Event(BaseModel):
    """time: seconds since 1970, as the box's clock was. reason: for people, often empty."""

    time: float
    version: str
    event: str
    reason: str = ""


class State(BaseModel):
    """current, previous: None is the package that the configuration names."""

    model_config = ConfigDict(extra="ignore")  # a newer reflexd may have written it

    current: str | None = None
    previous: str | None = None
    trial: Trial | None = None
    rejected: dict[str, str] = {}  # version -> reason
    hold: str | None = None
    history: list[Event] = []  # oldest first

    def note(self, time: float, version: str | None, event: str, reason: str = "") -> None:
        """Add to the history, which stays bounded."""
        self.history.append(Event(time=time, version=version or CONFIGURED, event=event, reason=reason))
        del self.history[:-KEPT_EVENTS]

    def bar(self, version: str, reason: str) -> None:
        """Never try this version again."""
        self.rejected.pop(version, None)
        self.rejected[version] = reason
        while len(self.rejected) > KEPT_REJECTED:
            del self.rejected[next(iter(self.rejected))]

    @property
    def in_use(self) -> set[str]:
        """Versions whose folders must stay."""
        trial = self.trial.version if self.trial else None
        return {version for version in (self.current, self.previous, self.hold, trial) if version}
