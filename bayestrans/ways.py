"""How a way through several translations compares with what it should meet."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray
from scipy import special, stats

from .neighbours import CLASSES

Floats = NDArray[np.float64]

#: A median score beyond this, or a width of the scores beyond these, is no longer consistent.
MOST_BIAS, WIDTHS = 0.5, (0.6, 1.6)
#: Fewer stars tell nothing of either.
LEAST_STARS = 30


class Consistency(NamedTuple):
    """How a way through several translations compares with what it should meet.

    Attributes
    ----------
    kind : str
        ``round trip`` or ``chain``.
    titles : tuple of str
        The names of the models' specs.
    names, units : tuple of str
        The quantities that both have, K of them.
    place : (S, N, K) array
        Where a difference is looked at: for a round trip half way between both values (see
        `bayestrans.consistency`), for a chain the mean of the direct translation.
    difference : (S, N, K) array
        For each draw: the value at the end of the way minus what A measured, or minus a draw
        of the direct translation. NaN where a star has no value.
    z : (S, N, K) array
        For each draw the difference in units of the joint uncertainty. For a round trip
        minus the normal score of the rank of what A measured within the law at the end of the
        way: standard normal where both models are right, of whatever law. For a chain the
        difference over the two standard deviations in quadrature.
    width, reference : (N, K) array
        Standard deviation of the way's draws, and what it is compared with: A's quoted
        errors, or the standard deviation of the direct translation's draws.
    classes : (N,) array of str
        Of support, in the model that sees A.
    missing : tuple of str
        Inputs of the second model that the first one does not give: integrated over.
    """

    kind: str
    titles: tuple[str, ...]
    names: tuple[str, ...]
    units: tuple[str, ...]
    place: Floats
    difference: Floats
    z: Floats
    width: Floats
    reference: Floats
    classes: NDArray[np.str_]
    missing: tuple[str, ...]

    def table(self) -> Table:
        """Return for each output, for all stars and by class of support, one row.

        ``bias`` and ``scatter`` are median and robust spread (1.4826 times the median
        absolute deviation) of the differences in the unit of the output, ``z_bias`` and
        ``z_scatter`` those of the normal scores (0 and 1 where all is consistent),
        ``within_68`` and ``within_95`` the share of the scores inside the central intervals
        of a standard normal law, ``widening`` the median of ``width`` over ``reference``.
        """
        rows = []
        for k, (name, unit) in enumerate(zip(self.names, self.units, strict=True)):
            for group in ("all", *CLASSES):
                chosen = (self.classes == group) | (group == "all")
                known = chosen & np.isfinite(self.z[:, :, k]).any(axis=0)
                rows.append((name, unit, group, int(known.sum()), *self._numbers(known, k)))
        head = "output unit class n bias scatter z_bias z_scatter within_68 within_95 widening"
        return Table(rows=rows, names=head.split())

    def _numbers(self, stars: NDArray[np.bool_], k: int) -> tuple[float, ...]:
        if not stars.any():
            return (np.nan,) * 7
        away, z = self.difference[:, stars, k], self.z[:, stars, k]
        away, z = away[np.isfinite(away)], z[np.isfinite(z)]
        both = np.isfinite(self.reference[stars, k])
        wider = self.width[stars, k][both] / self.reference[stars, k][both]
        return (
            float(np.median(away)),
            float(stats.median_abs_deviation(away, scale="normal")),
            float(np.median(z)),
            float(stats.median_abs_deviation(z, scale="normal")),
            *(float(np.mean(2.0 * special.ndtr(np.abs(z)) - 1.0 <= p)) for p in (0.68, 0.95)),
            float(np.median(wider)) if len(wider) else np.nan,
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """Quantities at whose ends the models do not meet, over all stars."""
        found = []
        for row in self.table():
            bias, scatter = row["z_bias"], row["z_scatter"]
            fits = abs(bias) <= MOST_BIAS and WIDTHS[0] <= scatter <= WIDTHS[1]
            if row["class"] == "all" and row["n"] >= LEAST_STARS and not fits:
                found.append(
                    f"{row['output']}: the {self.kind} does not meet what it should (z bias "
                    f"{bias:.2f}, z scatter {scatter:.2f}): a model is wrong, leads elsewhere, or "
                    "was trained on other stars"
                )
        return tuple(found)

    def __str__(self) -> str:
        """Return the table of all outputs and classes that have stars, and the warnings."""
        draws, stars = self.z.shape[:2]
        lines = [f"{self.kind}: {', '.join(self.titles)}; {stars} stars, {draws} draws of each"]
        if self.missing:
            lines.append(f"not handed on, integrated over: {', '.join(self.missing)}")
        lines.append(
            f"{'':24s}{'stars':>7s}{'bias':>10s}{'scatter':>10s}{'z bias':>9s}"
            f"{'z scatter':>11s}{'in 68 %':>9s}{'in 95 %':>9s}{'widening':>10s}"
        )
        for row in self.table():
            if row["n"]:
                unit = f" [{row['unit']}]" if row["unit"] else ""
                name = f"{row['output']}{unit}, {row['class']}"
                lines.append(
                    f"{name:24s}{row['n']:7d}{row['bias']:10.3g}{row['scatter']:10.3g}"
                    f"{row['z_bias']:9.2f}{row['z_scatter']:11.2f}"
                    f"{row['within_68']:9.2f}{row['within_95']:9.2f}{row['widening']:10.2f}"
                )
        return "\n".join([*lines, *(f"warning: {text}" for text in self.warnings)])
