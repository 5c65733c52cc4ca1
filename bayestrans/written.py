"""What is said of a translated catalogue: how it came about and what is in it."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from astropy.table import Table

from .answers import FLAGS, Answers
from .arguments import check_count
from .neighbours import CLASSES
from .parts import CLOCK
from .version import __version__

log = logging.getLogger("bayestrans")

#: Stars translated at a time.
BATCH = 32_768

#: From this share of a catalogue on, that its stars lie outside is said.
MANY = 0.1


class Written(NamedTuple):
    """What `translate_file` has written.

    Attributes
    ----------
    path : Path
    stars : int
    classes : dict of str to int
        Stars of each class of support.
    flags : dict of int to int
        Stars with each bit of the flags.
    """

    path: Path
    stars: int
    classes: dict[str, int]
    flags: dict[int, int]


class Settings(NamedTuple):
    """How a file is to be written: the arguments of `translate_file`."""

    overwrite: bool
    resume: bool
    draws: int
    seed: int
    strict: bool | float
    progress: bool
    chunk_size: int | None

    @property
    def rows(self) -> int:
        """Stars at a time."""
        return BATCH if self.chunk_size is None else self.chunk_size

    @property
    def allowed(self) -> float | None:
        """The share of the stars that may lie outside the support; None without limit."""
        return None if self.strict is False else 0.0 if self.strict is True else self.strict

    def checked(self) -> Settings:
        """Return them with plain numbers; raise ValueError for one that makes no sense."""
        if not isinstance(self.strict, bool) and not 0.0 <= self.strict < 1.0:
            raise ValueError(f"strict is {self.strict}; give True, False, or a share such as 0.05")
        return self._replace(
            draws=check_count("draws", self.draws, 0),
            seed=check_count("seed", self.seed, 0),
            chunk_size=check_count("chunk_size", self.rows, 1),
        )


def refuse_outside(outside: int, stars: int, allowed: float | None) -> None:
    """Raise ValueError where more stars lie outside the support than are allowed."""
    if allowed is None or outside <= allowed * stars:
        return
    limit = f", more than the {100 * allowed:g} % that strict allows" if allowed else ""
    raise ValueError(
        f"{outside} of {stars} stars ({100 * outside / stars:.1f} %) lie outside the training "
        f"stars' support{limit}; leave them out, or translate them without strict: they are then "
        "widened and flagged"
    )


class Count:
    """Counts stars as they come, by class of support and by flag."""

    def __init__(self) -> None:
        self.stars = 0
        self.classes = dict.fromkeys(CLASSES, 0)
        self.flags = dict.fromkeys(FLAGS, 0)

    def add(self, table: Table) -> None:
        """Count the stars of one part."""
        self.stars += len(table)
        for name in CLASSES:
            self.classes[name] += int((table["support_class"] == name).sum())
        for bit in FLAGS:
            self.flags[bit] += int((np.asarray(table["flags"]) & bit > 0).sum())

    def written(self, path: Path) -> Written:
        """Return the counts of what is now at ``path``."""
        return Written(path, self.stars, self.classes, self.flags)

    def say_outside(self) -> None:
        """Say so where many stars lie outside: the model may be one for other stars."""
        outside = self.classes[CLASSES[-1]]
        if outside > MANY * self.stars:
            log.warning(
                f"{outside} of {self.stars} stars ({100 * outside / self.stars:.1f} %) lie outside "
                "the training stars' support; they are widened and flagged (4)"
            )


def job_of(answers: Answers, source: str, batch: int) -> dict[str, Any]:
    """Return what determines a catalogue, and when it was begun.

    ``source`` is the digest of what is translated, ``batch`` the stars taken at a time.
    """
    return {
        "version": __version__,
        "model": answers.posterior.digest,
        "input": source,
        "spec": answers.posterior.spec.name,
        "seed": answers.seed,
        "draws": answers.draws,
        "summary draws": answers.counts,
        "batch": batch,
        CLOCK: datetime.now(UTC).isoformat(timespec="seconds"),
    }


def provenance(job: dict[str, Any]) -> dict[str, str]:
    """Return what the headers of a catalogue say of how it came about."""
    configuration = {"summary_draws": job["summary draws"], "draws": job["draws"]}
    return {
        "BTVERS": f"bayestrans {job['version']}",
        "BTMODEL": job["model"],
        "BTINPUT": job["input"],
        "BTSPEC": json.dumps(job["spec"]),
        "BTSEED": str(job["seed"]),
        "BTCONF": json.dumps(configuration),
        "BTUTC": job[CLOCK],
        "BTFLAGS": "; ".join(f"{bit}: {meaning}" for bit, meaning in FLAGS.items()),
    }
