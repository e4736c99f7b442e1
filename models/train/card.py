"""The CARD.md of a package: figures with their uncertainty, and the confusion matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt
from pathlib import Path

import numpy as np

from agent.data import Array


def wilson(hits: int, of: int) -> tuple[float, float]:
    """95 % confidence interval of a share (Wilson 1927): valid near 0 and 1, where the normal approximation is not."""
    if not of:
        return 0.0, 1.0
    z, share = 1.96, hits / of
    middle = share + z * z / (2 * of)
    half = z * sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    return max(0.0, (middle - half) / (1 + z * z / of)), min(1.0, (middle + half) / (1 + z * z / of))


def percent(hits: int, of: int) -> str:
    """For example "98.5 % (97.9 to 98.9, 1,970 of 2,000)"."""
    low, high = wilson(hits, of)
    return f"{100 * hits / max(of, 1):.2f} % ({100 * low:.2f} to {100 * high:.2f}, {hits:,} of {of:,})"


def rate_bound(count: int, hours: float) -> float:
    """Upper 95 % bound of a rate per hour, from `count` events in `hours` (Poisson; 3 / hours for no event)."""
    wilson_hilferty = (count + 1) * (1 - 1 / (9 * (count + 1)) + 1.645 / (3 * sqrt(count + 1))) ** 3
    return wilson_hilferty / hours


def confusion(truth: Array, predicted: Array, kinds: int) -> Array:
    """Matrix int [kinds, kinds]: rows are the truth, columns the prediction."""
    matrix = np.zeros((kinds, kinds), int)
    np.add.at(matrix, (truth, predicted), 1)
    return matrix


def draw_confusion(matrix: Array, labels: Sequence[str], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(4.5, 4), dpi=80)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(matrix):
        colour = "white" if shares[row, column] > 0.6 else "black"
        axes.text(column, row, f"{count:,}", ha="center", va="center", fontsize=8, color=colour)
    axes.set_xticks(range(len(labels)), labels, rotation=30)
    axes.set_yticks(range(len(labels)), labels)
    axes.set(xlabel="the model says", ylabel="it was")
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def int8_tradeoff(sizes: tuple[int, int], correct: tuple[int, int], of: int, ms: tuple[float, float]) -> str:
    """What INT8 costs and saves. Pairs: float network, shipped network; correct: number of right answers of `of`."""
    smaller, lost = 1 - sizes[1] / sizes[0], (correct[0] - correct[1]) / max(of, 1)
    met = "met" if smaller >= 0.6 and lost <= 0.02 else "not met"
    slower = " On this machine INT8 is slower than float." if ms[1] > ms[0] else ""
    change = f"loses {100 * lost:.2f}" if lost >= 0 else f"gains {-100 * lost:.2f}"
    return (
        "Target: at least 60 % smaller than float, at most 2 points lost. "
        f"The shipped file is {100 * smaller:.1f} % smaller and {change} points: {met}.{slower}"
    )


def write(place: Path, summary: str, sections: Mapping[str, str], made_by: str = "", echo: bool = True) -> None:
    """Write CARD.md; with `echo` also print it. made_by: the command, if it is not the one of the recipe."""
    body = "\n\n".join(f"## {title}\n{text.strip()}" for title, text in sections.items())
    made_by = made_by or f"python -m models.train {place.name}"
    text = f"# {place.name}\n\n{summary.strip()}\n\n{body}\n\nMade by `{made_by}`.\n"
    (place / "CARD.md").write_text(text)
    if echo:
        print(text)
