"""Which version a box goes to, and what it has that a difference can start from."""

from __future__ import annotations

import os
from pathlib import Path

from agent.errors import PackageError
from agent.packages.package import BUNDLED
from agent.update.repository import bundle
from agent.update.repository.index import Index, Version
from agent.update.state import CONFIGURED, State
from agent.update.store import Store


def wanted(offered: Index, state: State, configured: str = "") -> Version | None:
    """The version to go to; None: none. A hold wins; else the newest after the current one that was not rejected.

    configured: digest of the package that runs where no version is current.
    """
    versions = {version.version: version for version in offered.versions}
    if state.hold:
        held = None if state.hold == CONFIGURED else versions.get(state.hold)
        return held if held and state.hold not in (state.current, *state.rejected) else None
    current = state.current or next((each.version for each in offered.versions if each.digest == configured), None)
    names = list(versions)
    after = names[names.index(current) + 1 :] if current in versions else names
    fitting = [name for name in after if name not in state.rejected]
    return versions[fitting[-1]] if fitting else None


def digest_of(folder: Path) -> str:
    """Of a package; empty where there is none, or it is damaged: then the whole one replaces it."""
    try:
        return bundle.digest(bundle.read_package(folder)) if os.path.isdir(folder) else ""
    except PackageError:
        return ""


def bases(store: Store, version: Version) -> dict[str, Path]:
    """By their digest, packages on this box that this version has a difference from; the bundled one counts, too."""
    needed = {each.base for each in version.bundles if each.base}
    folders = [*map(store.folder, store.versions()), BUNDLED / store.name] if needed else []
    return {digest: folder for folder in folders if (digest := digest_of(folder)) in needed}
