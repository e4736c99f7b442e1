"""The test files whose imports reach a file that changed: `scripts/affected_tests.py [REV]`, one path a line.

REV is what the working tree is compared with; left out, the commit that last changed the version in setup.cfg. A
driver, decoder or engine that is found by its name counts as imported by the room that finds it; a file that is no
module counts as its folder.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from agent.benches.imports import ROOT, all_imports, find_modules

ROOMS = ("agent", "drivers", "models", "tests", "scripts")
EVERYTHING = ("setup.cfg", "pyproject.toml", "constraints.txt", "tests/conftest.py", "tests/shared.py")
LATEST_RELEASE = ("log", "-1", "--format=%H", "-G^version = ", "--", "setup.cfg")


def _git(*words: str) -> list[str]:
    return subprocess.run(["git", *words], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()


def _changed_files(revision: str | None) -> set[str]:
    """Paths that differ from the revision, and those that git does not know yet."""
    since = revision or _git(*LATEST_RELEASE)[0] + "~"
    return {*_git("diff", "--name-only", since), *_git("ls-files", "--others", "--exclude-standard")}


def _reached(start: str, graph: dict[str, set[str]]) -> set[str]:
    """All modules that importing `start` may load."""
    loaded, waiting = {start}, [start]
    while waiting:
        new = graph.get(waiting.pop(), set()) - loaded
        loaded |= new
        waiting += new
    return loaded


def _graph(known: dict[str, Path]) -> dict[str, set[str]]:
    graph: dict[str, set[str]] = {name: set() for name in known}
    for each in all_imports(known):
        graph[each.importer].add(each.imported)
    for name in known:
        room = name.rpartition(".")[0]
        graph[name] |= {room} & known.keys()  # a module loads the package that it lies in
        if room.startswith("drivers.") or room in ("agent.decoders", "agent.backends"):
            graph["drivers.base" if room.startswith("drivers.") else f"{room}.base"].add(name)
    return graph


def _affected(changed: set[str]) -> list[str]:
    """Test files, in order of name."""
    known = find_modules(ROOT, ROOMS)
    tests = sorted(name for name in known if name.startswith("tests.test_"))
    if changed & set(EVERYTHING):
        return [f"tests/{name.removeprefix('tests.')}.py" for name in tests]
    folders = {str(Path(path).parent) for path in changed if not path.endswith((".py", ".md"))}
    files = {name for name, path in known.items() if str(path.relative_to(ROOT)) in changed}
    files |= {name for name, path in known.items() if str(path.parent.relative_to(ROOT)) in folders}
    graph = _graph(known)
    return [f"tests/{name.removeprefix('tests.')}.py" for name in tests if _reached(name, graph) & files]


if __name__ == "__main__":
    print("\n".join(_affected(_changed_files(sys.argv[1] if len(sys.argv) > 1 else None))))
