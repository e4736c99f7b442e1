"""The configuration reflexd.yaml as pydantic models, one for each section."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from agent.box.folders import default_run_dir, default_state_dir
from agent.config.drift import Drift
from agent.config.offload import LaneOffload, Offload
from agent.config.services import Metrics, Recorder, Update, Web
from agent.config.site import Site
from agent.gates.config import GateConfig
from agent.rules.conditions import RuleConfig
from agent.rules.zones import Polygon
from agent.section import Section
from agent.vision.config import HeadConfig, RefineConfig
from agent.yamlfile import NAME


class Device(BaseModel):
    """A driver and its options, side by side. A relative path in them starts from the configuration file's folder."""

    model_config = ConfigDict(extra="allow", frozen=True, hide_input_in_errors=True)

    driver: str = Field(description="kind.name of a file in drivers/, or the dotted path of another module")

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.model_extra or {})

    def __repr_args__(self) -> Iterator[tuple[str, Any]]:
        yield "driver", self.driver  # an option may be a password


REMOTE = {"driver": "sensor.site", "model": "remote-evidence"}  # evidence of other boxes, and what reads it


class LaneConfig(Section):
    """A source, the models that read it, and the limits of both."""

    source: Device
    model: str = Field(description="a bundled package's name, or a folder with a manifest.yaml")
    heads: dict[str, HeadConfig] = Field(
        {}, max_length=16, description="of a backbone as `model`: the packages that read its output, and when"
    )
    then: str = Field("", description="a second model, which reads the keypoints that the first one finds: pose-fall")
    refine: RefineConfig | None = Field(None, description="a model that infers again where the first one is in doubt")
    gate: GateConfig | None = Field(None, description="which samples are inferred on; default: all")
    zones: dict[str, Polygon] = Field(
        {}, max_length=64, description="name: corners [x, y] in shares of the frame, in order"
    )
    every: int = Field(1, ge=1, le=1000, description="infer only on every n-th picture, or reading that is due")
    shrink: Literal["auto"] | int = Field(
        1, description="use every n-th pixel of pictures; auto: chosen by the first ones"
    )
    reference: Path | None = Field(
        None, description="PNG or JPEG of a good part, for a model that compares; beside this file"
    )
    hop_ms: float | None = Field(
        None, ge=1, le=60_000, description="of a sound model: time between two inferences; default: the model's"
    )
    backend: str = Field("", description="engine of `model`, such as openvino; default: the one its package names")
    threads: int = Field(1, ge=1, le=64, description="of the interpreter")
    share: bool = Field(
        False, description="lanes with the same model that say so run it in turns: it is in memory once"
    )
    release: list[str] = Field(
        [], max_length=16, description="servers and peers that may get its models' inputs: what its source delivers"
    )
    offload: LaneOffload | None = Field(
        None, description="peers compute for it while this box is busy, those of `release`; {}: with the defaults"
    )
    cores: list[int] = Field(
        [], description="CPUs this lane may use; empty: one of its own where SCHED_FIFO is allowed, else all"
    )
    critical: bool = Field(True, description="its actuators go safe when it stops; false: they do not need it")
    budget_ms: float | None = Field(None, gt=0, description="capture to applied; default: the model's")
    priority: int = Field(
        5,
        ge=1,
        le=9,
        description="while a lane misses its budget, lanes of lower priority infer less, the lowest first",
    )

    @field_validator("shrink")
    @classmethod
    def _valid_shrink(cls, shrink: str | int) -> str | int:
        if shrink != "auto" and not 1 <= int(shrink) <= 16:
            raise ValueError("expected 'auto', or 1 to 16")
        return shrink

    @model_validator(mode="before")
    @classmethod
    def _passes_on(cls, section: Any) -> Any:
        """What another box's lane found needs no model here: its lane has none to name."""
        source = section.get("source") if isinstance(section, dict) else None
        remote = isinstance(source, dict) and source.get("driver") == REMOTE["driver"]
        return {"model": REMOTE["model"], **section} if remote else section

    @property
    def models(self) -> list[str]:
        """Names, in the order in which they run."""
        return [*self.first_models, *([self.refine.model] if self.refine else []), *([self.then] if self.then else [])]

    @property
    def first_models(self) -> list[str]:
        """Names of those that read the whole sample: the model, or a backbone and its heads."""
        return [self.model, *self.heads]


def _check_ipv6(host: str, port: str) -> None:
    """Raises ValueError for an IPv6 address without brackets, or one that many networks have, without its interface."""
    if ":" not in host:
        return
    address, _, interface = host.strip("[]").partition("%")
    try:
        parsed = ip_address(address)
    except ValueError as error:
        raise ValueError("expected tcp://HOST:PORT") from error
    if not re.fullmatch(r"\[[^\[\]]+\]", host):
        raise ValueError(f"write an IPv6 address in brackets, then the port: tcp://[{host.strip('[]')}]:{port}")
    if parsed.is_link_local and not interface:
        raise ValueError(f"a link-local address needs its interface: tcp://[{address}%eth0]:{port}")


class ActuatorConfig(Section):
    """A device that rules command, on this box or another, and what it accepts."""

    device: Device | None = Field(
        None, description="driver and options for `reflexd actuate`; left out where that runs on another box"
    )
    endpoint: str = Field("", description="ZeroMQ address; default an ipc socket in run_dir")
    rest: str = Field(description="the verb while no rule holds")
    safe_after_ms: float = Field(100.0, ge=10, le=100, description="time without heartbeats after which it is safe")
    verbs: list[str] = Field([], description="verbs it accepts; default the driver's")
    limits: dict[str, tuple[float, float]] = Field(
        {}, description="argument: [lowest, highest]; values outside are refused"
    )
    senders: list[str] = Field(
        [],
        description="box/lane that must all be alive (of each of its `boxes`); default the critical lanes of its rules",
    )
    boxes: list[str] = Field(
        [], max_length=8, description="redundant boxes, of which each may command it alone; default: one box at a time"
    )
    strongest: list[str] = Field(
        [], max_length=8, description="verbs that any of the boxes enforces, the first first; else the newest change"
    )
    disagree_ms: float = Field(1000.0, ge=100, le=600_000, description="boxes that disagree for longer are reported")
    server_key: Path | None = Field(
        None, description="public key file of the actuator's box, for a tcp endpoint; default on this box: its own"
    )

    @field_validator("endpoint")
    @classmethod
    def _known_transport(cls, endpoint: str) -> str:
        if endpoint and not re.fullmatch(r"ipc://.+|tcp://[^/]+:[0-9]{1,5}", endpoint):
            raise ValueError("expected ipc://PATH or tcp://HOST:PORT")
        if endpoint.startswith("tcp") and not 1 <= int(endpoint.rpartition(":")[2]) <= 65535:
            raise ValueError("expected a port from 1 to 65535")
        if endpoint.startswith("tcp"):
            _check_ipv6(*endpoint.removeprefix("tcp://").rpartition(":")[::2])
        return endpoint

    @field_validator("limits")
    @classmethod
    def _lowest_first(cls, limits: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
        for name, (lowest, highest) in limits.items():
            if lowest > highest:
                raise ValueError(f"{name}: expected [lowest, highest], found [{lowest:g}, {highest:g}]")
        return limits


class Keys(Section):
    """CURVE keys, for commands across a network."""

    own: Path = Field(description="this box's secret key file, from `reflexd keys`")
    authorized: Path | None = Field(
        None, description="folder of public keys that may command this box's actuators: NODE.key as the box NODE"
    )


class Config(Section):
    """The whole file."""

    node: str = Field("box", pattern=NAME, description="this box's name in commands")
    run_dir: Path = Field(default_factory=default_run_dir, description="sockets, ledgers, lock")
    state_dir: Path = Field(default_factory=default_state_dir, description="recordings and events")
    realtime: bool = Field(True, description="use SCHED_FIFO where allowed")
    workers: Literal["auto"] | int = Field(
        0, description="processes for lanes that no rule joins; 0: all lanes in the daemon; auto: one for each core"
    )
    insecure: bool = Field(False, description="allow network endpoints without keys; doctor reports it")
    watchdog_device: Path | None = Field(
        None, description="a hardware watchdog, such as /dev/watchdog1, that `reflexd actuate` feeds; default: none"
    )
    keys: Keys | None = None
    metrics: Metrics = Field(default_factory=lambda: Metrics())
    web: Web = Field(default_factory=lambda: Web())
    recorder: Recorder = Field(default_factory=lambda: Recorder())
    drift: Drift | None = Field(
        None, description="report inputs and scores that are not as they were; {}: of every lane"
    )
    update: Update | None = None
    site: Site | None = Field(None, description="other boxes that this one sees; default: it is alone")
    offload: Offload | None = Field(None, description="boxes that compute for one another")
    lanes: dict[str, LaneConfig] = Field({}, max_length=64)
    actuators: dict[str, ActuatorConfig] = Field({}, max_length=64)
    rules: dict[str, RuleConfig] = Field({}, max_length=256)

    @field_validator("workers")
    @classmethod
    def _valid_workers(cls, workers: str | int) -> str | int:
        if workers != "auto" and not 0 <= int(workers) <= 16:
            raise ValueError("expected 'auto', or 0 to 16")
        return workers

    def endpoint(self, actuator: str) -> str:
        return self.actuators[actuator].endpoint or f"ipc://{self.run_dir}/{actuator}.sock"

    @property
    def updatable(self) -> list[str]:
        """Models that the updater looks for: those listed, else all that lanes use by a name, not by a path."""
        if self.update is None:
            return []
        used = dict.fromkeys(name for lane in self.lanes.values() for name in lane.models)
        return self.update.models or [name for name in used if "/" not in name and name != REMOTE["model"]]

    @property
    def drop_late(self) -> frozenset[str]:
        """Rules whose late decisions are not sent."""
        return frozenset(name for name, rule in self.rules.items() if rule.late == "drop")

    def feeding(self, actuator: str) -> list[str]:
        """Lanes that a rule of this actuator depends on."""
        rules = [rule for rule in self.rules.values() if rule.actuator == actuator]
        return sorted({condition.lane for rule in rules for condition in rule.conditions})

    def senders(self, actuator: str) -> list[str]:
        """box/lane of every sender that must be alive for this actuator to leave its safe state."""
        critical = [lane for lane in self.feeding(actuator) if self.lanes[lane].critical]
        section = self.actuators[actuator]
        # Redundant boxes have the same lanes.
        return section.senders or [f"{node}/{lane}" for node in section.boxes or [self.node] for lane in critical]
