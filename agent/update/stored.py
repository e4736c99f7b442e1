"""Which package a model's name stands for on this box: a version that the updater installed, or the configuration's."""

from __future__ import annotations

import logging
from pathlib import Path

from agent.config.models import Config
from agent.update.store import Store

log = logging.getLogger("reflexd.update")


class StoredModels:
    """Looked up as the lanes load; what is damaged is said once for all of them."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._damaged: set[str] = set()

    def folder(self, model: str) -> Path | None:
        """None: the package that the configuration names."""
        if model not in self._config.updatable or model in self._damaged:
            return None
        return Store(self._config.state_dir, model).current_folder()

    def report_damage(self, model: str, error: Exception) -> None:
        """The configuration's package runs in place of the stored one."""
        self._damaged.add(model)
        log.error("model %s: the version in the store cannot be used, the configuration's runs: %s", model, error)
