"""What `importance` returns: draws of how much each input matters, and the error budget."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import pandas as pd
import xarray as xr

#: The density is said to be coarse where its stars vary by more than this share less or more
#: than the given ones, and by so many standard errors.
COARSE, COARSE_ERRORS = 0.05, 3.0

#: Dimensions of the posterior draws.
SAMPLE = ("chain", "draw")


class Importance(NamedTuple):
    """What `importance` returns.

    What an output's network does not see is NaN throughout.

    Attributes
    ----------
    draws : Dataset
        Posterior draws, with dimensions ``chain``, ``draw``, ``target`` (the ``full`` map
        or the ``correction`` alone), ``output``, and ``feature`` (an input, or its quoted
        error) or ``player``. ``sensitivity`` is the mean over the stars of the squared
        change of the output when a feature moves by its standard deviation, in the
        output's unit squared; ``change`` the mean of that change, with its sign; ``slope``
        the same per unit of an input, or per unit of the natural logarithm of a quoted
        error. ``shapley`` is what a player explains of the variance over the stars,
        ``explained`` all of it, in the output's unit squared, and ``share`` the one over the other.
        These are of stars drawn from the model's density; ``among_given`` is the variance
        over the given stars themselves, of those that lack nothing.
    monte_carlo : Dataset
        Standard errors of the posterior means of ``sensitivity``, ``change``, ``slope``,
        ``shapley``, ``share``, ``explained`` and ``among_given`` that the finite number of
        stars leaves. No interval
        of the draws contains them.
    budget : DataArray
        The variance of the catalogue's answer for each ``star`` and ``output``, by ``part``
        (`bayestrans.budget.budget`), in the output's unit squared. NaN for stars without
        any input.
    members : dict of str to tuple of str
        The inputs, or quoted errors, of each player.
    units : dict of str to str
        The unit of each input and output.
    """

    draws: xr.Dataset
    monte_carlo: xr.Dataset
    budget: xr.DataArray
    members: dict[str, tuple[str, ...]]
    units: dict[str, dict[str, str]]

    @property
    def mean_budget(self) -> xr.DataArray:
        """The budget averaged over the stars: (output, part)."""
        return self.budget.mean("star")

    def table(self, level: float = 0.95) -> pd.DataFrame:
        """Return posterior means and central credible intervals as a table.

        Parameters
        ----------
        level : float
            Probability of the intervals.

        Returns
        -------
        DataFrame
            Columns ``output``, ``input`` (a feature or a player; empty where a row is of
            all of them), ``what`` (as in `draws`), ``target``, ``mean``, ``lower``,
            ``upper`` and ``monte_carlo``, the standard error of the mean.
        """
        if not 0 < level < 1:
            raise ValueError(f"level is {level}; give a probability between 0 and 1")
        tail = 0.5 * (1.0 - level)
        return pd.concat([self._rows(str(what), tail) for what in self.draws], ignore_index=True)

    def _rows(self, what: str, tail: float) -> pd.DataFrame:
        values = self.draws[what]
        last = [str(d) for d in values.dims if d in ("feature", "player")]
        order = ["output", *last, "target"]
        columns = {
            "mean": values.mean(SAMPLE, skipna=False),
            "lower": values.quantile(tail, SAMPLE, skipna=False),
            "upper": values.quantile(1.0 - tail, SAMPLE, skipna=False),
            "monte_carlo": self.monte_carlo[what],
        }
        plain = {
            name: part.drop_vars("quantile", errors="ignore") for name, part in columns.items()
        }
        rows = xr.Dataset(plain).to_dataframe(dim_order=order).reset_index()
        rows = rows.rename(columns={last[0]: "input"} if last else {}).dropna(subset="mean")
        rows = rows.assign(what=what, **({} if last else {"input": ""}))
        return rows[["output", "input", "what", "target", *columns]]

    def to_tree(self) -> xr.DataTree:
        """Return everything as one tree whose ``posterior`` ArviZ summarises."""
        groups = {
            "posterior": self.draws,
            "monte_carlo": self.monte_carlo,
            "budget": self.budget.to_dataset(name="variance"),
        }
        return xr.DataTree.from_dict(groups)

    def to_dict(self) -> dict[str, Any]:
        """Return the table with both intervals, and the mean budget, ready for JSON."""
        wide, narrow = self.table(), self.table(0.68)
        wide = wide.assign(lower_68=narrow["lower"], upper_68=narrow["upper"])
        wide = wide.rename(columns={"lower": "lower_95", "upper": "upper_95"})
        mean = self.mean_budget
        return {
            "players": {name: list(parts) for name, parts in self.members.items()},
            "units": self.units,
            "table": wide.to_dict("records"),
            "budget": {
                str(k): {str(p): float(mean.sel(output=k, part=p)) for p in mean["part"].values}
                for k in mean["output"].values
            },
        }

    def __str__(self) -> str:
        """Return tables for people: the correction of each output, then the error budget."""
        table = self.table()
        lines = []
        for output, unit in self.units["outputs"].items():
            rows = table[(table["output"] == output) & (table["target"] == "correction")]
            found = {
                (what, name): tuple(values)
                for _, name, what, _, *values in rows.itertuples(index=False)
            }
            lines += [*_of_output(found, f"{output} [{unit}]" if unit else output), ""]
        return "\n".join([*lines, *_of_budget(self)])


def _of_output(rows: dict[tuple[str, str], tuple[float, ...]], title: str) -> list[str]:
    """Return what the correction of one output rests on, largest share first.

    ``rows`` holds mean, interval and Monte-Carlo error by what is told and of which input.
    """
    mean, lower, upper, _ = (math.sqrt(value) for value in rows["explained", ""])
    lines = [
        f"{title}: the correction varies by {mean:.3g} ({lower:.3g} to {upper:.3g}) between stars"
    ]
    if given := rows.get(("among_given", "")):
        known = math.sqrt(given[0])
        error = 0.5 * given[3] / known if known > 0 else 0.0  # of the square root
        if abs(known - mean) > max(COARSE * known, COARSE_ERRORS * error):
            lines.append(
                f"  but by {known:.3g} among the given stars: the density that stars are drawn "
                "from is coarse, and shares are less certain than their intervals say"
            )
    shares = {name: values for (what, name), values in rows.items() if what == "share"}
    if shares:
        head = ("player", "share", "95 %", "change per sd", "slope per unit", "95 %")
        lines.append("  {:14s}{:>7s}{:>14s}{:>15s}{:>16s}{:>23s}".format(*head))
    for player in sorted(shares, key=lambda name: -shares[name][0]):
        mean, lower, upper, _ = (100 * value for value in shares[player])
        interval = f"{lower:.1f} to {upper:.1f}"
        line = f"  {player:14s}{mean:6.1f}%{interval:>14s}"
        if ("slope", player) in rows:
            change, (slope, low, high, _) = rows["sensitivity", player][0], rows["slope", player]
            between = f"{low:+.3g} to {high:+.3g}"
            line += f"{math.sqrt(change):15.3g}{slope:+16.3g}{between:>23s}"
        lines.append(line)
    return lines


def _of_budget(found: Importance) -> list[str]:
    parts = [str(part) for part in found.budget["part"].values]
    head = "".join(f"{part:>13s}" for part in parts)
    lines = [f"{'error budget':16s}{'sd':>9s}{head}"]
    for output, unit in found.units["outputs"].items():
        mean = found.mean_budget.sel(output=output).values
        shares = "".join(f"{100 * part / mean.sum():12.1f}%" for part in mean)
        title = f"{output} [{unit}]" if unit else output
        lines.append(f"{title:16s}{mean.sum() ** 0.5:9.3g}{shares}")
    return lines
