"""Where training data lies, and the error when it is missing; the benches use the same."""

from __future__ import annotations

from agent.benches.recordings import SHARED, find_set
from agent.errors import DataError

__all__ = ["SHARED", "DataError", "find_set"]
