"""Of a backbone: its outputs are the input of heads, which a lane names under `heads`. It finds nothing itself."""

from __future__ import annotations

from collections.abc import Sequence

from agent.data import Array
from agent.decoders import base
from agent.decoders.base import Finding


class Decoder(base.Decoder):
    """Any outputs, which stay as the model stores them."""

    NEEDS = "the outputs of a backbone, and the lane heads that read them"
    reads_stored = True
    is_backbone = True

    def __call__(self, outputs: Sequence[Array]) -> list[Finding]:
        return []
