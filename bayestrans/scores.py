"""What an evaluation says: scores of some stars as numbers, JSON and text."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .calibration import LEVELS
from .neighbours import CLASSES

Floats = NDArray[np.float64]


class OutputScore(NamedTuple):
    """Scores of one output.

    Attributes
    ----------
    rmse, mad_sigma, bias, crps : float
        Root mean square, robust spread and median of measured minus predicted
        mean, and continuous ranked probability score, in the output's unit.
    coverage : dict of str to float
        Share of the stars inside the central interval of each nominal level.
    """

    rmse: float
    mad_sigma: float
    bias: float
    crps: float
    coverage: dict[str, float]


class Score(NamedTuple):
    """Scores of some stars.

    Attributes
    ----------
    n : int
    nll : float
        Mean negative log density of the outputs together, in nats per star,
        each output in units of its robust correction scale.
    energy_score : float
        In the same units.
    joint_coverage : dict of str to float
        Share of the stars inside a joint region of all their outputs of each
        nominal level; null if the model has fewer than four draws.
    outputs : dict of str to OutputScore
    """

    n: int
    nll: float
    energy_score: float
    joint_coverage: dict[str, float]
    outputs: dict[str, OutputScore]


class Bin(NamedTuple):
    """Scores of the stars with an input between two values, the lower one included."""

    input: str
    low: float
    high: float
    score: Score


class Evaluation(NamedTuple):
    """What `evaluate` returns.

    Attributes
    ----------
    overall : Score
    by_support : tuple of (str, Score)
        The classes, then the deciles of the support score.
    baselines : dict of str to Score
        ``identity`` and ``linear``, fitted on the model's own training stars.
    pit : (N, K) array
        Predictive probability below each measured value; NaN where missing.
    credibility : (N,) array
        Predictive probability of the joint region about a random point that
        the measured values lie at the edge of.
    support_class : (N,) array of str
        ``dense``, ``sparse`` or ``outside``, for each star.
    units : dict of str to str
        The unit of each output, for the table.
    uncalibrated : Score, optional
        All stars under the same posterior before its calibration; nothing where it has none.
    fitted : int
        Stars with exactly the inputs of training stars; zero if there are not more than a
        few. Their scores are no test of the model.
    by_input : tuple of Bin
        Fifths of the stars by each input that they have.
    """

    overall: Score
    by_support: tuple[tuple[str, Score], ...]
    baselines: dict[str, Score]
    pit: Floats
    credibility: Floats
    support_class: NDArray[np.str_]
    units: dict[str, str]
    uncalibrated: Score | None = None
    fitted: int = 0
    by_input: tuple[Bin, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the score sheet as plain numbers, ready for JSON."""
        sheet = _sheet(self.overall)
        sheet["by_support"] = [{"class": name, **_sheet(score)} for name, score in self.by_support]
        sheet["baselines"] = {name: _sheet(score) for name, score in self.baselines.items()}
        sheet["by_input"] = [
            {"input": one.input, "low": one.low, "high": one.high, **_sheet(one.score)}
            for one in self.by_input
        ]
        if self.uncalibrated is not None:
            sheet["uncalibrated"] = _sheet(self.uncalibrated)
        if self.fitted:
            sheet["fitted"] = self.fitted
        return sheet

    def to_json(self) -> str:
        """Return the score sheet as one JSON object."""
        return json.dumps(self.to_dict())

    @property
    def rivals(self) -> dict[str, Score]:
        """What the model is held against: itself ``uncalibrated``, if it is, and the baselines."""
        before = {} if self.uncalibrated is None else {"uncalibrated": self.uncalibrated}
        return before | self.baselines

    def __str__(self) -> str:
        """Return a table for people."""
        classes = self.by_support[: len(CLASSES)]
        rows = [("model", self.overall), *self.rivals.items(), *classes]
        return "\n".join([*_table(rows, self.units), RIVALS])


#: What the rows beside the model's are, in the words of a table for people.
RIVALS = "identity: A's value plus a constant; linear: Bayesian linear regression of the inputs"


def _sheet(score: Score) -> dict[str, Any]:
    """Return a score as plain numbers; what does not exist becomes null."""
    numbers = {"n": score.n, "nll": score.nll, "energy_score": score.energy_score}
    return {
        **_plain(numbers),
        "joint_coverage": _plain(score.joint_coverage),
        "outputs": {name: output._asdict() for name, output in score.outputs.items()},
    }


def _plain(numbers: dict[str, Any]) -> dict[str, Any]:
    return {name: None if np.isnan(value) else value for name, value in numbers.items()}


def _table(rows: list[tuple[str, Score]], units: dict[str, str]) -> list[str]:
    levels = "".join(f"{'in ' + str(round(100 * level)) + '%':>8s}" for level in LEVELS)
    lines = [f"{'all outputs':14s}{'stars':>9s}{'NLL':>9s}{'energy':>9s}{'':9s}{levels}"]
    for label, score in rows:
        numbers = f"{score.n:9d}{score.nll:9.3f}{score.energy_score:9.3f}"
        lines.append(f"{label:14s}{numbers}{'':9s}{_shares(score.joint_coverage)}".rstrip())
    for name in rows[0][1].outputs:
        title = f"{name} [{units[name]}]" if units[name] else name
        lines += ["", f"{title:14s}{'rmse':>9s}{'sigma':>9s}{'bias':>9s}{'CRPS':>9s}{levels}"]
        for label, score in rows:
            if name in score.outputs:
                found = score.outputs[name]
                numbers = f"{found.rmse:9.4g}{found.mad_sigma:9.4g}{found.bias:+9.2g}"
                lines.append(f"{label:14s}{numbers}{found.crps:9.4g}{_shares(found.coverage)}")
    return lines


def _shares(coverage: dict[str, float]) -> str:
    return "".join(f"{100 * share:7.1f}%" for share in coverage.values())
