"""NAME/index.json, a signed target: the versions of one model in a repository, oldest first, and their bundles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agent.errors import ConfigError
from agent.update.state import VERSION_PATTERN

if TYPE_CHECKING:
    from tuf.api.metadata import Targets

    from agent.update.repository.tuf_repository import Repository

MAX_BYTES = 1 << 20
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Bundle(BaseModel):
    """base: digest of the package that it is a difference from; None: whole. file: name of its target."""

    model_config = ConfigDict(extra="ignore")

    base: Digest | None
    file: str = Field(max_length=255)
    bytes: int = Field(ge=0)


class Version(BaseModel):
    """digest, size: of the whole package, unpacked."""

    model_config = ConfigDict(extra="ignore")

    version: str = Field(pattern=f"^{VERSION_PATTERN}$")
    digest: Digest
    size: int = Field(ge=0)
    bundles: list[Bundle] = Field(min_length=1, max_length=64)


class Index(BaseModel):
    """versions: the newest last."""

    model_config = ConfigDict(extra="ignore")

    model: str
    versions: list[Version] = Field(default=[], max_length=256)


def target_name(model: str) -> str:
    return f"{model}/index.json"


def of_targets(repository: Repository, targets: Targets, model: str) -> Index:
    """As it is published; empty for a new model. Raises ConfigError, OSError."""
    target = targets.targets.get(target_name(model))
    if target is None:
        return Index(model=model)
    path = repository.target_path(target)
    try:
        return Index.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise ConfigError([f"{path}: is damaged: restore the repository from a copy"]) from error
