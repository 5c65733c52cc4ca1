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

import numpy as np
from numpy.typing import NDArray
from scipy import special
from scipy.spatial import cKDTree

from .catalogue import Source, read_inputs
from .measured import compare
from .neighbours import CLASSES
from .pairs import Pairs
from .posterior import Posterior, check_posterior
from .spec import Input, Output
from .ways import Consistency

Floats = NDArray[np.float64]

#: Normal scores are held within this many sigma.
MOST_SIGMA = 8.0


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
        If the models have nothing in common, or in other units, or are one and the same.

    Notes
    -----
    ``z`` is standard normal over stars that are drawn as the training stars were. For a choice
    of stars by their values in A (a class of support, too) it need not be: at the edges of
    the population the way leads inwards.
    """
    _check_different(there, back)
    x, x_err = _inputs(there, stars)
    missing = _links(there, back, "back")
    place = _places(there.spec.inputs, back.spec.outputs, "A's inputs", "what leads back to A")
    target, target_err = _picked(x, place), _picked(x_err, place)
    shown = np.flatnonzero(place >= 0)
    measured = _measured(there, x, x_err, draws, seed)
    back.check_draws(draws)
    size = (draws, *target.shape)
    again, z = np.full(size, np.nan), np.full(size, np.nan)
    following = _followers(draws)
    for s in range(draws):
        handed = _handed(there, back, measured[s])
        drawn = back.predict(*handed, kind="measured", y_err=target_err, draws=draws, seed=seed + 1)
        again[s] = np.where(np.isfinite(target), drawn[following[s]], np.nan)
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
        If the models have nothing in common, or in other units, or are the same, or if
        ``first`` and ``direct`` have no column of a survey A in common.

    Notes
    -----
    The medians of the differences should be near zero everywhere. ``widening`` is what the
    detour by B costs: above 1 as B's errors hide something of C.
    """
    _check_different(first, second, direct)
    own = {item.column for item in first.spec.inputs}
    if own.isdisjoint(other := {item.column for item in direct.spec.inputs}):
        raise ValueError(
            f"{first.spec.name!r} reads {', '.join(sorted(own))}, and {direct.spec.name!r}, which "
            f"should lead from the same survey, {', '.join(sorted(other))}; give a direct model "
            "of the survey that the chain begins with"
        )
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
    following = _followers(draws)
    for s in range(draws):
        handed = _handed(first, second, measured[s])
        drawn = second.predict(*handed, kind="measured", y_err=theirs, draws=draws, seed=seed + 1)
        end[s] = _picked(drawn[following[s]], place)
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


def _check_different(first: Posterior, *others: Posterior) -> None:
    for model in (first, *others):
        check_posterior(model)
    if any(model.digest == first.digest for model in others):
        raise ValueError(f"{first.spec.name!r} is given twice; each way needs its own model")


def _followers(draws: int) -> NDArray[np.int64]:
    """Return the draw of the second model that follows each of the first: others by half of all.

    In both the same draws doubt their network, and by chance alone they are to meet.
    """
    return np.roll(np.arange(draws), draws // 2)


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
