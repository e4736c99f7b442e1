"""The input of a model on a lane: one, and of one sample, whatever its file leaves open."""

from __future__ import annotations

from collections.abc import Sequence

from agent.backends.base import EngineError

Size = int | str | None  # of an axis; open where it is no number, or below 1


def input_shape(name: str, sizes: Sequence[Size], given: Sequence[int]) -> tuple[int, ...]:
    """The shape of an input on a lane. sizes: as the file has them; given: by the manifest. Raises EngineError.

    A first size that is open is that of the batch: one sample.
    """
    described = f"[{', '.join(str(size or '?') for size in sizes)}]"
    shape = [int(size) if isinstance(size, int) and size > 0 else 0 for size in sizes]
    if len(shape) > 1 and not shape[0]:
        shape[0] = 1
    if given:
        if len(given) != len(shape) or any(size not in (0, new) or new < 1 for size, new in zip(shape, given)):
            raise EngineError(f"shape {list(given)} does not fit input '{name}' {described}")
        shape = list(given)
    if 0 in shape:
        example = ",".join(str(size or sizes[axis] or "SIZE").upper() for axis, size in enumerate(shape))
        raise EngineError(
            f"input '{name}' {described} leaves sizes open: state them, 'model init --shape {example}' with numbers"
            " ('shape: [...]' in manifest.yaml)"
        )
    if len(shape) > 1 and shape[0] != 1:
        batch = f"input '{name}' {described} takes {shape[0]} samples at a time, and a lane has one"
        raise EngineError(f"{batch}: export the model with a batch of 1")
    return tuple(shape)


def require_one_input(described: Sequence[str]) -> None:
    """described: each input's name and shape. Raises EngineError."""
    if len(described) != 1:
        advice = "export the model with the others as constants" if described else "it computes nothing from a sample"
        raise EngineError(f"the model has {len(described)} inputs ({'; '.join(described)}), a lane fills one: {advice}")
