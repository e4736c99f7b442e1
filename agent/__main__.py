"""The entry point: exit codes, and the last place where exceptions are caught."""

from __future__ import annotations

import gc
import os
import sys
import traceback

from agent.box import held

EXIT_BUG, EXIT_CONFIG = 1, 2  # systemd restarts after 1 and not after 2


def main() -> None:
    """Run a command of `reflexd` and exit."""
    held.hold()  # before the imports, which take half a second
    # A start makes 400,000 objects, and most of them stay: walking them again and again takes 40 ms.
    gc.set_threshold(100_000, 50, 50)
    # numpy's BLAS would start a thread for each core at its import; nothing here multiplies large matrices.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # No package that happens to be installed may change our validation; looking for such takes 20 ms.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    from agent import redact
    from agent.cli import cli
    from agent.errors import ConfigError, DataError, PackageError

    try:
        code = cli.main(standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except (ConfigError, DataError, PackageError) as error:
        print(redact.message(str(error)), file=sys.stderr)
        sys.exit(EXIT_CONFIG)
    except OSError as error:
        # A port that is taken, a full disk, a folder without rights: for the person, not for a restart loop.
        print(redact.message(f"reflexd: {error}"), file=sys.stderr)
        sys.exit(EXIT_CONFIG)
    except Exception as error:
        import click

        if isinstance(error, click.exceptions.Abort):
            sys.exit(130)
        if isinstance(error, click.ClickException):
            vars(error).update(message=redact.message(error.message))
            error.show()
            sys.exit(EXIT_CONFIG)
        # After Abort: an interrupted import of numpy cannot be tried again.
        from drivers.base import DriverError

        if isinstance(error, DriverError):
            print(redact.message(str(error)), file=sys.stderr)
            sys.exit(EXIT_CONFIG)
        print(redact.message(traceback.format_exc()), file=sys.stderr)
        sys.exit(EXIT_BUG)


if __name__ == "__main__":
    main()
