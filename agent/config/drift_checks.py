"""Checks of the section `drift` across sections."""

from __future__ import annotations

from collections.abc import Iterator

from agent.config.models import Config
from agent.yamlfile import Document, unknown


def drift_mistakes(config: Config, document: Document) -> Iterator[str]:
    if "drift" in document.data and document.data["drift"] is None:
        yield f"{document.at(('drift',))}: 'drift' is empty: write 'drift: {{}}' to watch every lane, or remove it"
    if config.drift is None:
        return
    for index, name in enumerate(config.drift.skip):
        yield from unknown(document, ("drift", "skip", index), name, "lane", config.lanes)
    if not config.recorder.enabled:
        yield (
            f"{document.at(('drift',))}: 'drift' reads the tapes that lanes write for the recorder, which is off:"
            " remove 'enabled: false' there, or 'drift'"
        )
    yield from _unsealed_cases(config, document)


def _unsealed_cases(config: Config, document: Document) -> Iterator[str]:
    """Sealed clips beside a folder in which everybody who gets the disk can see the same pictures."""
    collect = config.drift.collect if config.drift else None
    if config.recorder.events.seal and collect and collect.keep != "features" and not collect.seal:
        yield (
            f"{document.at(('drift', 'collect'))}: 'events.seal' encrypts the clips, but 'keep: {collect.keep}' would"
            f" collect pictures as they are: add 'seal: {config.recorder.events.seal}', or write 'keep: features'"
        )
