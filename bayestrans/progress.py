"""What long steps show: a bar, and a line of what is to come."""

from __future__ import annotations

import sys

from tqdm import tqdm

#: Seconds between two states of a bar: on a screen, and in the log of a batch job.
SCREEN, LOG = 0.1, 30.0


def progress_bar(
    label: str,
    total: int | None,
    unit: str,
    *,
    progress: bool,
    begin: int = 0,
    leave: bool = False,
) -> tqdm:
    """Return a bar with rate and time left; ``leave`` keeps it when the step is done."""
    # A notebook is no terminal, but somebody looks at it.
    watched = sys.stderr.isatty() or "ipykernel" in sys.modules
    every = SCREEN if watched else LOG
    return tqdm(
        total=total,
        desc=label,
        unit=unit,
        initial=begin,
        disable=not progress,
        leave=leave,
        mininterval=every,
        maxinterval=max(10.0, every),
    )


def say(text: str) -> None:
    """Say something where the bars are, and not across one."""
    tqdm.write(text, file=sys.stderr)
