"""`reflexd model ...`: each imports what it needs, so that `reflexd --help` is quick."""

from __future__ import annotations

from pathlib import Path

import click

from agent.options import json_option


def _sizes(context: click.Context, option: click.Parameter, value: str | None) -> tuple[int, ...]:
    sizes = tuple(int(size) if size.strip().isdecimal() else 0 for size in value.split(",")) if value else ()
    if 0 in sizes:
        raise click.BadParameter(f"expected sizes of at least 1 with commas between them, found {value!r}")
    return sizes


def _names(context: click.Context, option: click.Parameter, value: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in value.split(",")) if value else ()


@click.group()
def model() -> None:
    """Show, verify, list, benchmark, create and fit model packages."""


@model.command("show")
@click.argument("package")
@json_option
def model_show(package: str, as_json: bool) -> None:
    """Show inputs, outputs and labels of a package."""
    from agent.modeltools import show

    show.show(package, as_json)


@model.command("verify")
@click.argument("package")
@json_option
def model_verify(package: str, as_json: bool) -> int:
    """Check sha256, load, run on varied inputs, compare with the golden outputs. Exit code 2 if anything is wrong."""
    from agent.modeltools import show

    return show.verify(package, as_json)


@model.command("list")
@click.argument("folders", type=click.Path(path_type=Path), nargs=-1)
@json_option
def model_list(folders: tuple[Path, ...], as_json: bool) -> int:
    """List every bundled package, and those in FOLDERS. Exit code 2 if one is damaged."""
    from agent.modeltools import bench

    return bench.show_list(folders, as_json)


@model.command("bench")
@click.argument("packages", nargs=-1)
@click.option("--engines", is_flag=True, help="Time the installed engines of each again, and keep the fastest.")
@json_option
def model_bench(packages: tuple[str, ...], engines: bool, as_json: bool) -> int:
    """Measure how long PACKAGES (all bundled ones) take on this machine, against their budgets."""
    from agent.modeltools import bench

    return bench.bench_engines(packages, as_json) if engines else bench.bench(packages, as_json)


@model.command("init")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--into", type=click.Path(path_type=Path), help="Folder of the new package.  [default: FILE's name beside it]"
)
@click.option("--decoder", default="", help="How to read its outputs, where the file does not say.")
@click.option("--shape", callback=_sizes, metavar="N,N,...", help="Of the input, where the file leaves sizes open.")
@click.option("--outputs", callback=_names, metavar="NAME,...", help="Outputs that are read, in the decoder's order.")
@click.option("--activation", type=click.Choice(["softmax", "sigmoid"]), help="Of a model that ends in logits.")
@click.option("--picture", is_flag=True, help="The input is a picture, although it looks like features of sound.")
@click.option("--labels", type=click.Path(path_type=Path), help="Text file with a line for each label, in order.")
@json_option
def model_init(
    file: Path,
    into: Path | None,
    decoder: str,
    shape: tuple[int, ...],
    outputs: tuple[str, ...],
    activation: str | None,
    picture: bool,
    labels: Path | None,
    as_json: bool,
) -> int:
    """Write the manifest for a public .tflite or .onnx FILE by reading it."""
    from agent.modeltools import init

    request = init.Request(decoder, shape, outputs, activation or "", picture, str(labels or ""))
    return init.init(file, into, request, as_json)


@model.command("fit")
@click.argument("package")
@click.option("--good", "first", type=click.Path(path_type=Path), multiple=True, required=True, metavar="FILE")
@click.argument("more", type=click.Path(path_type=Path), nargs=-1, metavar="[FILE]...")
@click.option("--quantile", type=click.FloatRange(0.5, 1), default=0.99, show_default=True, help="Of the errors.")
@click.option(
    "--margin", type=click.FloatRange(0, 10), default=0.2, show_default=True, help="Share above the quantile."
)
@click.option("--into", type=click.Path(path_type=Path), help="Folder for a copy of the package; none: PACKAGE itself.")
@json_option
def model_fit(
    package: str,
    first: tuple[Path, ...],
    more: tuple[Path, ...],
    quantile: float,
    margin: float,
    into: Path | None,
    as_json: bool,
) -> int:
    """Learn the threshold of PACKAGE (decoder reconstruction) from WAV or csv FILES of the good state, or folders."""
    from agent.modeltools import fit

    return fit.fit(package, [*first, *more], quantile, margin, into, as_json)
