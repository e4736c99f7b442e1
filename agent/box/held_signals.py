"""Signals that end a process, held back while it starts, until their handlers stand or the command needs none."""

import signal
from collections.abc import Set

# Not held: SIGTERM and SIGINT, which end a start at once; what reports a fault of this thread (SIGABRT is the
# watchdog's); what stops and continues a process; what does nothing by default, or is ignored by Python itself.
_FREE = {
    *(signal.SIGTERM, signal.SIGINT, signal.SIGKILL, signal.SIGSTOP),
    *(signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSEGV, signal.SIGSYS, signal.SIGTRAP),
    *(signal.SIGCONT, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU),
    *(signal.SIGCHLD, signal.SIGURG, signal.SIGWINCH, signal.SIGPIPE, signal.SIGXFSZ),
}
HELD = frozenset(signal.valid_signals()) - _FREE


def hold() -> None:
    """In the calling thread, and in threads and processes that it starts. SIGINT ends the process as SIGTERM does."""
    signal.pthread_sigmask(signal.SIG_BLOCK, HELD)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a KeyboardInterrupt during an import would be a traceback


def release(keep: Set[int] = frozenset()) -> None:
    """All but those to keep, which somebody handles later. Without any, SIGINT raises KeyboardInterrupt again."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD - keep)
    if not keep and signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
