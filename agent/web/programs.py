"""Other commands of this program for the live view, in processes of their own: bounded in time, number, output."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from agent.isolated import python, sacrifice

MAX_OUTPUT = 6 << 20  # bytes
MAX_AT_ONCE = 2  # they take a processor each


class ProgramError(Exception):
    """The text is for people."""


class Programs:
    """Answers of commands in JSON; requests for the same at the same time share it, and its answer for a while."""

    def __init__(self) -> None:
        self._running: dict[tuple[str, ...], asyncio.Task[Any]] = {}
        self._answers: dict[tuple[str, ...], tuple[float, Any]] = {}
        self._free = asyncio.Semaphore(MAX_AT_ONCE)

    async def ask(
        self, module: str, *arguments: str, given: str = "", limit_s: float = 30.0, keep_s: float = 0.0
    ) -> Any:
        """given: its standard input. keep_s: an answer that is not older will do. Raises ProgramError."""
        key = given, module, *arguments
        at, answer = self._answers.get(key, (0.0, None))
        if answer is not None and time.monotonic() - at < keep_s:
            return answer
        task = self._running.get(key)
        if task is None:
            task = self._running[key] = asyncio.create_task(self._run(key, limit_s))
            task.add_done_callback(lambda _: self._running.pop(key, None))
        answer = await asyncio.shield(task)
        if keep_s:
            self._answers = dict(list(self._answers.items())[-50:])
            self._answers[key] = time.monotonic(), answer
        return answer

    async def _run(self, key: tuple[str, ...], limit_s: float) -> Any:
        given, *command = key
        async with self._free:
            process = await asyncio.create_subprocess_exec(
                *python(*command),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            sacrifice(process.pid)
            try:
                output, errors = await asyncio.wait_for(process.communicate(given.encode()), limit_s)
            except asyncio.TimeoutError:
                raise ProgramError(
                    f"{' '.join(command[:2])}: no answer within {limit_s:g} s: the box is busy"
                ) from None
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
        return _parsed(output, errors)


def _parsed(output: bytes, errors: bytes) -> Any:
    if len(output) > MAX_OUTPUT:
        raise ProgramError("the answer is too long to be shown")
    try:
        return json.loads(output)
    except (ValueError, RecursionError):
        lines = errors.decode("utf-8", "replace").strip().splitlines()
        raise ProgramError(lines[-1][:500] if lines else "no answer: see the log of the box") from None
