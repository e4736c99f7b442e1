"""What a model's input may leave this box for: by type, no sender takes it otherwise.

A tensor, or a part of a frame, is the picture: somebody who has it sees what the camera sees.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from agent.data import Array


class NotReleased(Exception):
    """It stays here; the text says why, and what to do."""


class Recipient(NamedTuple):
    """Who would get it. name: in `release`. here: on this box. encrypted: and its certificate was checked."""

    name: str
    here: bool
    encrypted: bool


class Released:
    """An input that may leave for one recipient. Only `Release.give` makes one, and only senders open it."""

    __slots__ = ("_array", "_recipient")

    def __init__(self, array: Array, recipient: Recipient, key: object) -> None:
        if key is not _KEY:
            raise TypeError("only Release.give releases an input")
        self._array, self._recipient = array, recipient

    def __repr__(self) -> str:
        return f"<input released to {self._recipient.name}>"

    def __reduce__(self) -> str:
        raise TypeError("a released input is sent to its recipient, and kept nowhere")


_KEY = object()


def opened(released: Released, recipient: Recipient) -> Array:
    """What a sender puts on its link to this recipient. Raises TypeError for all that was not released to it."""
    if type(released) is not Released:
        raise TypeError(f"{type(released).__name__} is no released input: a model's input stays on this box")
    if released._recipient != recipient:
        raise TypeError(f"released to {released._recipient.name}, not to {recipient.name}")
    return released._array


class Release:
    """Of a lane: whom its configuration names."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self.names = frozenset(names)

    def give(self, array: Array, recipient: Recipient) -> Released:
        """Raises NotReleased."""
        if recipient.name not in self.names:
            raise NotReleased(
                f"the input of its model stays here: '{recipient.name}' is not in the lane's 'release: [...]'"
            )
        if not (recipient.here or recipient.encrypted):
            raise NotReleased(
                f"the input of its model stays here: the link to '{recipient.name}' is not encrypted: use https:// or"
                " grpcs://"
            )
        return Released(array, recipient, _KEY)


class OwnInputs(Release):
    """Of a package: its golden inputs, and zeros. They are no picture of this box, and may go to any server."""

    def give(self, array: Array, recipient: Recipient) -> Released:
        return Released(array, recipient, _KEY)


NOBODY = Release()
