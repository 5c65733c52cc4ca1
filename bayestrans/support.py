"""Say where a catalogue's stars lie among the training stars."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from .catalogue import Source, read_inputs
from .neighbours import CLASSES
from .pairs import Pairs
from .posterior import Posterior, check_posterior


class Support(NamedTuple):
    """How well the training stars cover some stars.

    Attributes
    ----------
    score : (N,) array
        How far one must reach for training stars in the whitened input space (see
        `bayestrans.neighbours.Neighbours`), over its median among the training stars:
        1 is the usual spacing, larger is sparser or beyond an edge. Missing inputs are
        taken at what is expected of them given the others; NaN without any.
    classes : (N,) array of str
        ``dense``, ``sparse`` or ``outside``.
    identifiers : Table
        The identifier columns of a catalogue, or row numbers.
    """

    score: NDArray[np.float64]
    classes: NDArray[np.str_]
    identifiers: Table

    def to_table(self) -> Table:
        """Return identifiers, ``support`` and ``support_class`` as a table."""
        table = self.identifiers.copy()
        table["support"] = self.score
        table["support_class"] = self.classes
        return table

    def fractions(self) -> dict[str, float]:
        """Return the share of the stars in each class."""
        count = max(1, len(self.classes))
        return {name: float((self.classes == name).sum() / count) for name in CLASSES}

    def __str__(self) -> str:
        """Return the shares in one line."""
        shares = ", ".join(
            f"{100 * share:.1f} % {name}" for name, share in self.fractions().items()
        )
        return f"{len(self.score)} stars: {shares}"


def support(posterior: Posterior, stars: Source | Pairs | NDArray[np.float64]) -> Support:
    """Score how well the training stars cover each star.

    Parameters
    ----------
    posterior : Posterior
    stars : path, Table, DataFrame, Pairs or (N, D) array
        Stars of survey A.

    Returns
    -------
    Support
    """
    check_posterior(posterior)
    if isinstance(stars, Pairs):
        posterior.check_spec(stars.spec)
        x, x_err, identifiers = stars.x, stars.x_err, Table({"id": stars.ids})
    elif isinstance(stars, np.ndarray) and stars.dtype.names is None:
        x = posterior.check_shape(stars)
        x_err = np.full(x.shape, np.nan)
        identifiers = Table({"row": np.arange(len(x))})
    else:
        inputs = read_inputs(stars, posterior.spec, posterior.scaler)
        x, x_err, identifiers = inputs.x, inputs.x_err, inputs.identifiers
    score = posterior.neighbours.score(posterior.gaps.expected(x, x_err)[0])
    return Support(score, np.array(CLASSES)[posterior.neighbours.classify(score)], identifiers)
