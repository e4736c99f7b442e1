"""`reflexd model show|verify`: inputs, outputs and labels of a package, and whether it is intact."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import numpy as np

from agent import redact
from agent.backends.base import Tensor
from agent.errors import PackageError
from agent.modeltools.trial import trial
from agent.packages import heads, package
from agent.packages.manifest import Backbone
from agent.packages.package import Package


def show(name: str, as_json: bool) -> None:
    folder = package.find(name)
    content = facts(package.open_package(folder), folder)
    lines = (f"{key:<10} {_plain(value)}" for key, value in content.items())
    click.echo(json.dumps(content, indent=2) if as_json else "\n".join(lines))


def facts(opened: Package, folder: Path) -> dict[str, Any]:
    """What a person wants to know of a package. Raises PackageError."""
    manifest = opened.manifest
    return {
        "name": opened.name,
        "version": manifest.version,
        "licence": manifest.licence,
        "backend": opened.backend,
        "decoder": manifest.decoder,
        "options": manifest.options,
        **({"backbone": _plain_backbone(manifest.backbone)} if manifest.backbone else {}),
        "labels": package.labels(folder),
        "bytes": (folder / manifest.file).stat().st_size,
        "budget_ms": manifest.budget_ms,
        "data": manifest.data,
        "inputs": [_describe(tensor) for tensor in opened.engine.inputs],
        "outputs": [_describe(tensor) for tensor in opened.network.outputs],
    }


def _plain_backbone(backbone: Backbone) -> str:
    output = f"output '{backbone.output}'" if backbone.output else "the first output"
    return f"{output} of {backbone.model}, sha256 {backbone.sha256[:16]}..."


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return "; ".join(map(str, value[:20])) + (f" and {len(value) - 20} more" if len(value) > 20 else "")
    return str(value)


def _describe(tensor: Tensor) -> str:
    quantised = f", quantised: (stored - {tensor.zero_point}) * {tensor.scale:g}" if tensor.scale else ""
    signature = f" (signature: {tensor.signature})" if tensor.signature else ""
    return f"{tensor.name} {list(tensor.shape)} {np.dtype(tensor.dtype).name}{quantised}{signature}"


def verify(name: str, as_json: bool) -> int:
    """0 when good, 2 when not."""
    try:
        opened = package.open_package(package.find(name))
        worst = opened.golden
        inputs = trial(opened)
        heads.verify(opened)
    except PackageError as error:
        if not as_json:
            raise PackageError(str(error)) from error
        click.echo(json.dumps({"ok": False, "mistakes": redact.lines(error)}))
        return 2
    if as_json:
        click.echo(json.dumps({"ok": True, "golden": worst, "inputs": inputs}))
    else:
        golden = "no golden outputs" if worst is None else f"golden outputs within {worst:.0%} of the tolerance"
        click.echo(f"{opened.name}: good: sha256, load, run on {inputs} varied inputs; {golden}")
    return 0
