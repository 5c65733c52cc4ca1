"""Ctrl-C in commands: it stops them, whatever libraries make of it."""

from __future__ import annotations

import _thread
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SECONDS = 0.1  # until an interrupt that was lost comes again


@contextmanager
def ctrl_c() -> Iterator[None]:
    """Let Ctrl-C be a ``KeyboardInterrupt`` here.

    Python raises it wherever its code runs next: also in a callback of a library's
    compiled code. That may make an error of its own of it, which would be told as a
    fault of the user's data; or, as JAX's does while garbage is collected, drop it.
    """
    theirs = signal.getsignal(signal.SIGINT)
    if (
        theirs is not signal.default_int_handler
        or threading.current_thread() is not threading.main_thread()
    ):
        yield  # somebody else answers it, or nobody may
        return
    pressed = threading.Event()

    def note(number: int, frame: FrameType | None) -> None:
        pressed.set()
        signal.default_int_handler(number, frame)

    signal.signal(signal.SIGINT, note)
    try:
        with _dropped_come_again():
            yield
    except Exception as error:
        if pressed.is_set():
            raise KeyboardInterrupt from error
        raise
    finally:
        signal.signal(signal.SIGINT, theirs)


@contextmanager
def _dropped_come_again() -> Iterator[None]:
    """Interrupt once more where an interrupt was raised in code that drops all errors."""
    theirs = sys.unraisablehook
    waiting: list[threading.Timer] = []

    def hook(dropped: sys.UnraisableHookArgs) -> None:
        if not issubclass(dropped.exc_type, KeyboardInterrupt):
            theirs(dropped)
            return
        # Not at once: it would fall into the same code.
        waiting.append(threading.Timer(SECONDS, _thread.interrupt_main))
        waiting[-1].daemon = True
        waiting[-1].start()

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = theirs
        for timer in waiting:
            timer.cancel()
