"""The entry point: exit codes, and the last place where exceptions are caught."""

import gc
import os
import sys

from agent import isolated  # of modules it needs only these

EXIT_RETRY, EXIT_CONFIG = 1, 2  # systemd restarts after 1, a bug or what can heal by itself, and not after 2


def main() -> None:
    """Run a command of `reflexd` and exit."""
    isolated.drop_empty_entry()
    from agent.box import held_signals

    held_signals.hold()  # before the imports, which take half a second
    # A start makes 400,000 objects, and most of them stay: walking them again and again takes 40 ms.
    gc.set_threshold(100_000, 50, 50)
    # numpy's BLAS would start a thread for each core at its import; nothing here multiplies large matrices.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # No package that happens to be installed may change our validation; looking for such takes 20 ms.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    from agent import redact
    from agent.cli import cli

    redact.remember(secret for argument in sys.argv[1:] for secret in redact.url_secrets(argument))
    try:
        code = cli.main(standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except Exception as error:
        text, code = _explain(error)
        if text:
            print(redact.message(text), file=sys.stderr)
        sys.exit(code)


def _explain(error: Exception) -> tuple[str, int]:
    """The text for the person, of a bug its traceback, and the exit code."""
    import traceback

    import click

    from agent import redact
    from agent.errors import ConfigError, DataError, PackageError, heals

    code = EXIT_RETRY if heals(error) else EXIT_CONFIG
    if isinstance(error, (ConfigError, DataError, PackageError)):
        return str(error), code
    if isinstance(error, OSError):
        return _of_system(error), code
    if isinstance(error, MemoryError) or str(error) == "can't start new thread":
        return f"this box is short of memory or threads: {error or 'allocation failed'}", EXIT_RETRY
    if isinstance(error, click.exceptions.Abort):
        return "", 130
    if isinstance(error, click.UsageError):
        vars(error).update(message=redact.message(error.message))
        error.show()  # with the command's usage
        return "", code
    if isinstance(error, click.ClickException):
        return error.format_message(), code
    # After Abort: an interrupted import of numpy cannot be tried again.
    from drivers.base import DriverError

    return (str(error), code) if isinstance(error, DriverError) else (traceback.format_exc(), EXIT_RETRY)


def _of_system(error: OSError) -> str:
    """Without the number of the error; with the file where there is one."""
    if error.strerror is None:
        return str(error)
    return f"{error.filename}: {error.strerror}" if error.filename else error.strerror


def _leave_folder() -> None:
    """`python -m agent` puts the current folder first on the path: only where this program is there itself.

    A program of `isolated.python` has left it already: its first folder is one of PYTHONPATH.
    """
    isolated = sys.orig_argv[1:2] == ["-c"]
    if not isolated and sys.path and sys.path[0] != os.path.dirname(os.path.dirname(os.path.abspath(__file__))):
        del sys.path[0]


if __name__ == "__main__":
    if not getattr(sys.flags, "safe_path", False):
        _leave_folder()
    main()
