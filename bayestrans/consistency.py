r"""Do several translations agree with one another? Round trips and chains.

*Round trip*: a star's values :math:`x` of survey A are translated to B and back. The result is
**not** :math:`x`: what was noise in :math:`x` cannot be found again, and each translation draws
towards its population. What must hold is subtler. If both models are right, and the stars are
like those of the training, then :math:`x` and a draw :math:`x'` of the way there and back,

.. math:: y \sim p(y \mid x), \qquad x' \sim p(x' \mid y),

are two draws from one law :math:`p(\cdot \mid y)`, which nothing tells apart. So the ranks of
:math:`x` within that law are uniform, :math:`x' - x` is as often positive as negative at any
:math:`(x + x')/2`, and against :math:`x` alone it tilts, as it should.

*Chain*: A to B to C beside A to C. Both are posteriors of what C would measure, given the same
:math:`x`. The chain knows of :math:`x` only what B would have said, so it is wider, and is drawn
more towards its population; where B sees all that A sees of C, both are the same.

In both, draws are pushed through draws, so that the uncertainty of the first model reaches the
end. The second model was trained on what B *measured*: it is given what B would measure, with
the quoted errors that B has at the training star most like it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray
from scipy import special, stats
from scipy.spatial import cKDTree

from .catalogue import Source, read_inputs
from .measured import compare
from .neighbours import CLASSES
from .pairs import Pairs
from .posterior import Posterior, check_posterior
from .spec import Input, Output

Floats = NDArray[np.float64]

#: Normal scores are held within this many sigma.
MOST_SIGMA = 8.0


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
        the module's text), for a chain the mean of the direct translation.
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

    def __str__(self) -> str:
        """Return the table of all outputs and classes that have stars."""
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
        return "\n".join(lines)


def round_trip(
    there: Posterior, back: Posterior, stars: Pairs | Source, *, draws: int = 16, seed: int = 0
) -> Consistency:
    """Translate stars of A to B and back, and compare with what A measured.

    Parameters
    ----------
    there, back : Posterior
        From A to B, and from B to A: outputs of the one are inputs of the other by name.
    stars : Pairs, path, Table or DataFrame
        Stars of A, like the training stars of both and best not among them.
    draws : int
        Ways of each star, at least 2.
    seed : int
        Of the draws.

    Returns
    -------
    Consistency

    Raises
    ------
    ValueError
        If the models have nothing in common, or in other units.

    Notes
    -----
    ``z`` is standard normal over stars that are drawn as the training stars were. For a choice
    of stars by their values in A (a class of support, too) it need not be: at the edges of
    the population the way leads inwards.
    """
    x, x_err = _inputs(there, stars)
    missing = _links(there, back, "back")
    place = _places(there.spec.inputs, back.spec.outputs, "A's inputs", "what leads back to A")
    target, target_err = _picked(x, place), _picked(x_err, place)
    shown = np.flatnonzero(place >= 0)
    measured = _measured(there, x, x_err, draws, seed)
    back.check_draws(draws)
    size = (draws, *target.shape)
    again, z = np.full(size, np.nan), np.full(size, np.nan)
    for s in range(draws):
        handed = _handed(there, back, measured[s])
        drawn = back.predict(*handed, kind="measured", y_err=target_err, draws=draws, seed=seed + 1)
        again[s] = np.where(np.isfinite(target), drawn[s], np.nan)
        z[s] = -_scores(back, handed, target, target_err)
    return _result(
        "round trip",
        (there, back),
        shown,
        (again + target) / 2.0,
        again - target,
        z,
        (again.std(axis=0, ddof=1), target_err),
        _classes(there, x, x_err),
        missing,
    )


def chain(
    first: Posterior,
    second: Posterior,
    direct: Posterior,
    stars: Pairs | Source,
    *,
    draws: int = 16,
    seed: int = 0,
) -> Consistency:
    """Translate stars of A to B and on to C, and compare with A translated to C.

    Parameters
    ----------
    first, second, direct : Posterior
        From A to B, from B to C, and from A to C, with outputs and inputs of one name.
    stars : Pairs, path, Table or DataFrame
        Stars of A, with the columns of the inputs of ``first``; those of ``direct`` must be
        among them by name.
    draws : int
        Ways of each star, at least 2.
    seed : int
        Of the draws.

    Returns
    -------
    Consistency

    Raises
    ------
    ValueError
        If the models have nothing in common, or in other units.

    Notes
    -----
    The medians of the differences should be near zero everywhere. ``widening`` is what the
    detour by B costs: above 1 as B's errors hide something of C.
    """
    x, x_err = _inputs(first, stars)
    missing = _links(first, second, "on")
    seen = _places(first.spec.inputs, direct.spec.inputs, "A's inputs", "the direct translation")
    whole = _picked(x, seen), _picked(x_err, seen)
    place = _places(second.spec.outputs, direct.spec.outputs, "the chain", "the direct translation")
    shown = np.flatnonzero(place >= 0)
    mean = direct.predict(*whole, kind="mean").mean(axis=0)
    errors = _errors_like(direct, mean)
    straight = direct.predict(*whole, kind="measured", y_err=errors, draws=draws, seed=seed + 2)
    measured = _measured(first, x, x_err, draws, seed)
    second.check_draws(draws)
    turned = _places(
        direct.spec.outputs, second.spec.outputs, "the chain", "the direct translation"
    )
    theirs, end = _picked(errors, turned), np.full(straight.shape, np.nan)
    for s in range(draws):
        handed = _handed(first, second, measured[s])
        drawn = second.predict(*handed, kind="measured", y_err=theirs, draws=draws, seed=seed + 1)[
            s
        ]
        end[s] = _picked(drawn, place)
    widths = end.std(axis=0, ddof=1), straight.std(axis=0, ddof=1)
    return _result(
        "chain",
        (first, second, direct),
        shown,
        np.broadcast_to(mean, end.shape),
        end - straight,
        (end - straight) / np.hypot(*widths),
        widths,
        _classes(direct, *whole),
        missing,
    )


def _result(
    kind: str,
    models: tuple[Posterior, ...],
    shown: NDArray[np.intp],
    place: Floats,
    difference: Floats,
    z: Floats,
    widths: tuple[Floats, Floats],
    classes: NDArray[np.str_],
    missing: tuple[str, ...],
) -> Consistency:
    """Return the quantities that both have; outputs are those of the last model."""
    outputs = [models[-1].spec.outputs[k] for k in shown]
    place, difference, z = (part[..., shown] for part in (place, difference, z))
    width, reference = (part[..., shown] for part in widths)
    return Consistency(
        kind,
        tuple(model.spec.name for model in models),
        tuple(output.name for output in outputs),
        tuple(output.unit for output in outputs),
        place,
        difference,
        z,
        width,
        reference,
        classes,
        missing,
    )


def _inputs(posterior: Posterior, stars: Pairs | Source) -> tuple[Floats, Floats]:
    """Return inputs and errors (N, D) of stars that have some input."""
    check_posterior(posterior)
    if isinstance(stars, Pairs):
        posterior.check_spec(stars.spec)
        x, x_err = stars.x, stars.x_err
    else:
        found = read_inputs(stars, posterior.spec, posterior.scaler)
        x, x_err = found.x, found.x_err
    some = np.isfinite(x).any(axis=1)
    if not some.any():
        raise ValueError("no star has any input; give stars of the survey that is translated")
    return x[some], x_err[some]


def _links(first: Posterior, second: Posterior, way: str) -> tuple[str, ...]:
    """Return the inputs of the second model that the first does not give; refuse none at all."""
    given, wanted = first.spec.outputs, second.spec.inputs
    place = _places(given, wanted, first.spec.name, f"the model that leads {way}")
    return tuple(item.name for item, j in zip(wanted, place, strict=True) if j < 0)


def _places(
    given: tuple[Input | Output, ...] | tuple[Input, ...] | tuple[Output, ...],
    wanted: tuple[Input | Output, ...] | tuple[Input, ...] | tuple[Output, ...],
    first: str,
    second: str,
) -> NDArray[np.intp]:
    """Return where each wanted quantity is among those given, or -1."""
    units = {item.name: item.unit for item in given}
    if not units.keys() & {item.name for item in wanted}:
        theirs = ", ".join(item.name for item in wanted)
        raise ValueError(
            f"{first} and {second} have nothing in common ({', '.join(units)}; {theirs}); "
            "quantities are known by their names in the specs"
        )
    for item in wanted:
        if item.name in units and units[item.name] != item.unit:
            raise ValueError(
                f"{item.name} is in {units[item.name]!r} for {first} and in {item.unit!r} for "
                f"{second}; fit both in one unit"
            )
    names = list(units)
    found = [names.index(item.name) if item.name in units else -1 for item in wanted]
    return np.array(found, dtype=np.intp)


def _picked(values: Floats, place: NDArray[np.intp]) -> Floats:
    """Return columns by their places, NaN where there is none."""
    return np.where(place >= 0, values[..., place], np.nan)


def _measured(posterior: Posterior, x: Floats, x_err: Floats, draws: int, seed: int) -> Floats:
    """Return draws (S, N, K) of what survey B would measure, with errors as it quotes them."""
    if draws < 2:
        raise ValueError(f"{draws} draws say nothing of a width; give at least 2")
    posterior.check_draws(draws)
    errors = _errors_like(posterior, posterior.predict(x, x_err, kind="mean").mean(axis=0))
    return posterior.predict(x, x_err, kind="measured", y_err=errors, draws=draws, seed=seed)


def _errors_like(posterior: Posterior, y: Floats) -> Floats:
    """Return errors (N, K) that survey B quotes for the training star nearest to values (N, K)."""
    probes, errors = posterior.probe_y, posterior.probe_y_err
    known = np.isfinite(probes).all(axis=1) & np.isfinite(errors).any(axis=1)
    if not known.any():
        usual = posterior.scaler.usual_err
        return np.tile(np.where(usual > 0, usual, np.nan), (len(y), 1))
    unit = np.maximum(probes[known].std(axis=0), np.finfo(np.float64).tiny)
    _, nearest = cKDTree(probes[known] / unit).query(np.nan_to_num(y) / unit)
    return errors[known][nearest]


def _handed(first: Posterior, second: Posterior, values: Floats) -> tuple[Floats, Floats]:
    """Return what the first model gives (N, K) as inputs and errors (N, D) of the second."""
    place = _places(first.spec.outputs, second.spec.inputs, first.spec.name, second.spec.name)
    return _picked(values, place), _picked(_errors_like(first, values), place)


def _scores(
    posterior: Posterior, handed: tuple[Floats, Floats], y: Floats, y_err: Floats
) -> Floats:
    """Return normal scores (N, K) of values within what a model says of stars."""
    result = np.full(y.shape, np.nan)
    some = np.isfinite(handed[0]).any(axis=1) & np.isfinite(y).any(axis=1)
    if some.any():
        x, x_err = (part[some] for part in handed)
        pairs = Pairs(posterior.spec, x, x_err, y[some], y_err[some], np.arange(some.sum()))
        pit = compare(posterior, pairs).pit
        result[some] = np.clip(special.ndtri(np.clip(pit, 0.0, 1.0)), -MOST_SIGMA, MOST_SIGMA)
    return np.where(np.isfinite(y), result, np.nan)


def _classes(posterior: Posterior, x: Floats, x_err: Floats) -> NDArray[np.str_]:
    score = posterior.neighbours.score(posterior.gaps.expected(x, x_err)[0])
    return np.array(CLASSES)[posterior.neighbours.classify(score)]
