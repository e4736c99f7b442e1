"""`python -m agent.benches.imports`: no import cycles, no import of a higher room, no training in the product.

A room is a folder of agent, or a file of agent outside any folder; `drivers` and `models.train` are rooms, too.
Modules that are loaded by a name in the configuration (drivers, backends, decoders) are not followed there.
"""

from __future__ import annotations

import argparse
import ast
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
TOPS = ("agent", "drivers", "models")
# From low to high: a room imports only rooms before it.
ROOMS = (
    *("errors", "data", "isolated", "redact", "drivers", "box", "yamlfile", "section", "options"),
    *("endpoints", "web_keys", "open_inference", "backends", "decoders", "packages", "prepare", "vision", "gates"),
    *("keys", "site_keys", "ledger", "ledger_text", "commands", "rules", "tapes"),
    *("forecast", "compression"),
    *("perception", "arrival", "lane", "offline", "control", "http_server", "config", "update", "offload", "build"),
    *("health", "overload", "runner", "reload", "report", "group", "workers"),
    *("recorder", "drift", "modeltools", "scenes", "replay", "view"),
    *("site", "metrics", "field", "web", "tune", "pool", "rollout"),
    *("demo", "children", "daemon", "benches", "cli", "__main__", "models.train"),
)
PRODUCT, TRAINING = ("agent", "drivers"), "models.train"
DRIVERS, DRIVERS_MAY_IMPORT = "drivers", ("agent.data", "agent.isolated")  # of agent
TOP_LEVEL, LAZY, TYPING = "top-level", "lazy", "type-checking"


class Import(NamedTuple):
    """One import of a module by another. kind: lazy is inside a function; type-checking is for mypy only."""

    importer: str
    imported: str
    line: int
    kind: str


def examine(root: Path = ROOT, rooms: Sequence[str] = ROOMS) -> dict[str, Any]:
    """Violations in the tree below `root`; cycles that only an import in a function closes are listed apart."""
    modules = find_modules(root)
    imports = all_imports(modules)
    cycles = _cycles((each.importer, each.imported) for each in imports if each.kind == TOP_LEVEL)
    all_cycles = _cycles((each.importer, each.imported) for each in imports)
    between = {(_room(each.importer), _room(each.imported)) for each in imports}
    room_cycles = _cycles(pair for pair in between if pair[0] != pair[1])
    unplaced = sorted({_room(name) for name in modules} - {*rooms, *TOPS})
    return {
        "modules": len(modules),
        "imports": len(imports),
        "rooms": len({_room(name) for name in modules} - {*TOPS}),
        "violations": [
            *(f"import cycle: {cycle}" for cycle in cycles),
            *(f"cycle between rooms: {cycle}" for cycle in room_cycles),
            *_upward(imports, rooms),
            *_forbidden(imports),
            *(f"room {room}: it has no place in ROOMS of agent/benches/imports.py" for room in unplaced),
        ],
        "lazy_cycles": [cycle for cycle in all_cycles if cycle not in cycles],
    }


def room_imports(root: Path = ROOT) -> set[tuple[str, str]]:
    """(importing room, imported room) of every import between two rooms."""
    pairs = {(_room(each.importer), _room(each.imported)) for each in all_imports(find_modules(root))}
    return {(high, low) for high, low in pairs if high != low and not {high, low} & {"agent", "models", TRAINING}}


def find_modules(root: Path = ROOT, tops: Sequence[str] = TOPS) -> dict[str, Path]:
    """Dotted name -> file of every module below the folders `tops`."""
    modules = {}
    for path in sorted(path for top in tops for path in (root / top).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return modules


def _room(module: str) -> str:
    parts = module.split(".")
    if parts[0] == "agent" and len(parts) > 1:
        return parts[1]
    return ".".join(parts[:2]) if parts[0] == "models" else parts[0]


def all_imports(modules: dict[str, Path]) -> list[Import]:
    """Of each of them by another, anywhere in its file."""
    return [each for name, path in modules.items() for each in _imports(name, path, modules)]


def _imports(importer: str, path: Path, modules: dict[str, Path]) -> Iterator[Import]:
    """Those of other modules in the tree."""
    package = importer if path.name == "__init__.py" else importer.rpartition(".")[0]
    for node, kind in _statements(ast.parse(path.read_text(encoding="utf-8"), str(path)), TOP_LEVEL):
        for imported in _targets(node, package, modules):
            if imported in modules and imported != importer:
                yield Import(importer, imported, node.lineno, kind)


def _statements(node: ast.AST, kind: str) -> Iterator[tuple[ast.Import | ast.ImportFrom, str]]:
    """Every import below `node`, with its kind."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.Import, ast.ImportFrom)):
            yield child, kind
        elif isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield from _statements(child, LAZY)
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            yield from _statements(child, TYPING)
        else:
            yield from _statements(child, kind)


def _targets(node: ast.Import | ast.ImportFrom, package: str, modules: dict[str, Path]) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    base = node.module or ""
    if node.level:
        above = package.split(".")[: len(package.split(".")) - node.level + 1]
        base = ".".join([*above, *([base] if base else [])])
    names = [f"{base}.{alias.name}" for alias in node.names]
    return [name if name in modules else base for name in names]


def _cycles(edges: Iterable[tuple[str, str]]) -> list[str]:
    """One shortest cycle, as `a -> b -> a`, of each group of names that reach each other."""
    following: dict[str, set[str]] = {}
    for start, end in edges:
        following.setdefault(start, set()).add(end)
    cycles: dict[frozenset[str], str] = {}
    covered: set[str] = set()
    for name in sorted(following):
        path = _path_back(name, following) if name not in covered else []
        if path:
            covered |= set(path)
            cycles[frozenset(path)] = " -> ".join([*path, name])
    return list(cycles.values())


def _path_back(start: str, following: dict[str, set[str]]) -> list[str]:
    """The shortest path from `start` to itself, without its end; empty for none."""
    paths, reached = [[start]], {start}
    while paths:
        path = paths.pop(0)
        for name in sorted(following.get(path[-1], ())):
            if name == start:
                return path
            if name not in reached:
                reached.add(name)
                paths.append([*path, name])
    return []


def _upward(imports: Sequence[Import], rooms: Sequence[str]) -> list[str]:
    rank = {room: number for number, room in enumerate(rooms)}
    violations = []
    for each in imports:
        low, high = _room(each.importer), _room(each.imported)
        if low in rank and high in rank and rank[low] < rank[high]:
            violations.append(f"import upwards: {_text(each)}: {low} is below {high}")
    return violations


def _forbidden(imports: Sequence[Import]) -> list[str]:
    violations = []
    for each in imports:
        importer, imported = each.importer.split(".")[0], each.imported.split(".")[0]
        if importer in PRODUCT and (each.imported + ".").startswith(TRAINING + "."):
            violations.append(f"the product imports training: {_text(each)}")
        if importer == DRIVERS and imported == "agent" and each.imported not in DRIVERS_MAY_IMPORT:
            violations.append(f"a driver imports more of agent than {', '.join(DRIVERS_MAY_IMPORT)}: {_text(each)}")
    return violations


def _text(each: Import) -> str:
    return f"{each.importer}:{each.line} imports {each.imported} ({each.kind})"


def _report(result: dict[str, Any]) -> str:
    """The verdict in the first line, then every violation."""
    count = len(result["violations"])
    verdict = f"{count} violations" if count else "no cycle, no import upwards"
    size = f"{result['modules']} modules in {result['rooms']} rooms, {result['imports']} imports"
    lazy = [f"lazy cycle, not counted: {cycle}" for cycle in result["lazy_cycles"]]
    return "\n".join([f"imports: {size}: {verdict}", *result["violations"], *lazy])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m agent.benches.imports", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--json", action="store_true", help="The result as JSON.")
    options = parser.parse_args()
    result = examine()
    print(json.dumps(result, indent=2) if options.json else _report(result))
    return int(bool(result["violations"]))


if __name__ == "__main__":
    sys.exit(main())
