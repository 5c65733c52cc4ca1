"""What a report says first: what is wrong with a model, what is doubtful, what is good."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray
from scipy import stats

from .attribution import Importance
from .calibration import UNCALIBRATED
from .diagnose import Diagnosis
from .neighbours import CLASSES
from .pairs import Pairs
from .posterior import Posterior
from .report_page import Verdict
from .scores import Evaluation

Floats = NDArray[np.float64]

#: A share of stars inside intervals is wrong where chance explains it less often than this, and
#: where it is off by more than what would matter.
CHANCE, MATTERS = 1e-3, 0.03

#: Central intervals that are judged.
LEVELS = (0.68, 0.95)

#: Fewer held-out stars say little.
FEW_STARS = 100

#: Calibrated 90 % intervals of sparse stars that cover less earn a caution.
SPARSE_COVERAGE = 0.85

#: So large a share of a catalogue outside the training stars' support earns a caution.
MANY_OUTSIDE = 0.05

#: A bias counts from so many standard errors and so large a share of the scatter.
BIAS_ERRORS, BIAS_SHARE = 4.0, 0.15


class Translated(NamedTuple):
    """A translated catalogue, as far as a report needs it.

    Attributes
    ----------
    stars : Table
        Its rows, or evenly spaced ones of a large catalogue.
    classes : dict of str to int
        All its stars of each class of support.
    flags : dict of int to int
        All its stars with each bit of the flags.
    """

    stars: Table
    classes: dict[str, int]
    flags: dict[int, int]

    @property
    def total(self) -> int:
        """Stars of the catalogue."""
        return sum(self.classes.values())


class Material(NamedTuple):
    """What the sections of a report are made of.

    Attributes
    ----------
    posterior : Posterior
    diagnosis : Diagnosis
    pairs : Pairs or None
        Held-out stars.
    evaluation : Evaluation or None
        Their scores.
    catalogue : Translated or None
    importance : Importance or None
        None where there are too many inputs to ask for it without groups.
    """

    posterior: Posterior
    diagnosis: Diagnosis
    pairs: Pairs | None
    evaluation: Evaluation | None
    catalogue: Translated | None
    importance: Importance | None


def judge(material: Material) -> tuple[Verdict, ...]:
    """Return everything that is to be said of a model before its details."""
    found = [*_training(material.posterior), *_sampling(material.diagnosis)]
    if material.evaluation is None:
        text = "not scored on held-out stars; give some as pairs (--pairs)"
        found.append(Verdict("caution", text, "scores"))
    else:
        found += _held_out(material.evaluation)
        found += _coverage(material.evaluation)
        found += _classes(material.evaluation)
        found += _biases(material.evaluation)
        found += _against_baselines(material.evaluation)
    if material.catalogue is not None:
        found += _outside(material.catalogue)
    return tuple(found)


def _training(posterior: Posterior) -> Iterator[Verdict]:
    units = posterior.record.get("units_assumed")
    if units:
        named = ", ".join(f"{column} {unit}" for column, unit in units.items())
        text = f"columns without a unit were taken to be in the spec's: {named}; check them"
        yield Verdict("caution", text, "trained")
    regions = posterior.record.get("held_out_regions")
    if not regions:
        yield Verdict("caution", f"{UNCALIBRATED}; fit with calibration", "calibration")
        return
    sparse = regions["sparse"]
    if sparse["n"] >= FEW_STARS and sparse["after"]["0.90"] < SPARSE_COVERAGE:
        text = (
            f"90 % intervals of sparse stars cover {100 * sparse['after']['0.90']:.0f} % where "
            "regions of training stars were held out; widen errors of sparse stars, or find "
            "common stars there"
        )
        yield Verdict("caution", text, "calibration")


def _sampling(diagnosis: Diagnosis) -> Iterator[Verdict]:
    if diagnosis.faults:
        serious = diagnosis.verdict == "do not use"
        text = f"the diagnosis of the chains and of the fit to its own stars: {diagnosis.verdict}"
        yield Verdict("warning" if serious else "caution", text, "convergence")
    for name, fault in diagnosis.faults:
        grade = "warning" if fault.serious else "caution"
        yield Verdict(grade, f"{name}: {fault.text}", "convergence")
    good = [name for name, block in diagnosis.blocks.items() if not block.warnings]
    if good:
        text = f"the chains agree on what the network predicts: {', '.join(good)}"
        yield Verdict("good", text, "convergence")


def _held_out(evaluation: Evaluation) -> Iterator[Verdict]:
    count = evaluation.overall.n
    if count < FEW_STARS:
        text = f"only {count} held-out stars: shares below are uncertain; hold out more"
        yield Verdict("caution", text, "scores")
    if evaluation.fitted:
        text = (
            f"{evaluation.fitted} of {count} held-out stars have exactly the inputs of training "
            "stars: the scores are of stars that were fitted; score others"
        )
        yield Verdict("warning", text, "scores")


def _coverage(evaluation: Evaluation) -> Iterator[Verdict]:
    shares: dict[float, list[float]] = {level: [] for level in LEVELS}
    bad = False
    for k, name in enumerate(evaluation.units):
        central = _central(evaluation, k)
        for level in LEVELS:
            if len(central):
                share = float((central <= level).mean())
                shares[level].append(share)
            if _is_off(central, level):
                bad = True
                fault = "small" if share < level else "large"
                text = (
                    f"{name}: {100 * level:.0f} % intervals hold {100 * share:.0f} % of "
                    f"{len(central)} held-out stars: its errors are too {fault}; look for a "
                    "difference between training and held-out stars, or fit longer"
                )
                yield Verdict("warning", text, "scores")
    if not bad and shares[LEVELS[0]]:
        said = ", ".join(
            f"{100 * level:.0f} % intervals hold {_range(found)}" for level, found in shares.items()
        )
        off = f"off by at most {100 * MATTERS:.0f} points, or by what chance explains"
        text = f"errors are of the right size ({off}): {said} of held-out stars"
        yield Verdict("good", text, "scores")


def _range(shares: list[float]) -> str:
    low, high = (f"{100 * share:.0f}" for share in (min(shares), max(shares)))
    return f"{low} %" if low == high else f"{low} to {high} %"


def _classes(evaluation: Evaluation) -> Iterator[Verdict]:
    """Yield a verdict where errors of a class are too small, though all together may be right."""
    for group in CLASSES:
        rows, worst = evaluation.support_class == group, []
        for k, name in enumerate(evaluation.units):
            central = _central(evaluation, k, rows)
            share = float((central <= 0.95).mean()) if len(central) else 1.0
            if share < 0.95 and _is_off(central, 0.95):
                worst.append(f"{name} {100 * share:.0f} %")
        if worst:
            grade = "caution" if group == CLASSES[-1] else "warning"
            text = (
                f"95 % intervals of {group} stars ({int(rows.sum())} held out) hold "
                f"{', '.join(worst)}: do not use their errors as they are"
            )
            yield Verdict(grade, text, "trust")


def _central(evaluation: Evaluation, k: int, rows: NDArray[np.bool_] | None = None) -> Floats:
    """Return the level of the central interval at whose edge each measured value lies."""
    pit = evaluation.pit[:, k] if rows is None else evaluation.pit[rows, k]
    return np.asarray(2 * np.abs(pit[np.isfinite(pit)] - 0.5))


def _is_off(central: Floats, level: float) -> bool:
    """Say whether the share of stars inside differs from its level by more than chance."""
    if not len(central):
        return False
    hits = int((central <= level).sum())
    chance = stats.binomtest(hits, len(central), level).pvalue
    return bool(chance < CHANCE and abs(hits / len(central) - level) > MATTERS)


def _biases(evaluation: Evaluation) -> Iterator[Verdict]:
    for k, (name, unit) in enumerate(evaluation.units.items()):
        score = evaluation.overall.outputs.get(name)
        if score is None:
            continue
        count = int(np.isfinite(evaluation.pit[:, k]).sum())
        # The standard error of a median of normal numbers.
        error = np.sqrt(np.pi / 2) * score.mad_sigma / np.sqrt(count)
        if abs(score.bias) > max(BIAS_ERRORS * error, BIAS_SHARE * score.mad_sigma):
            text = (
                f"{name}: held-out stars are measured {score.bias:+.2g} {unit}".rstrip()
                + " away from the prediction at the median; look for a difference between "
                "training and held-out stars"
            )
            yield Verdict("caution", text, "scores")


def _against_baselines(evaluation: Evaluation) -> Iterator[Verdict]:
    ours = evaluation.overall.nll
    for name, text in (("linear", "linear regression"), ("identity", "A's value plus an offset")):
        gain = evaluation.baselines[name].nll - ours
        if not gain > 0:
            said = (
                f"no better than {text} (held-out NLL {-gain:.2g} nats per star worse); use more "
                "common stars, fit longer, or take the simpler translation"
            )
            yield Verdict("warning", said, "scores")
        else:
            said = f"better than {text} by {gain:.2g} nats per held-out star"
            yield Verdict("good", said, "scores")


def _outside(catalogue: Translated) -> Iterator[Verdict]:
    total, count = catalogue.total, catalogue.classes[CLASSES[-1]]
    text = f"{count} of {total} stars of the catalogue lie outside the training stars' support"
    if count > MANY_OUTSIDE * total:
        yield Verdict("caution", f"{text}; do not use their answers without checking", "trust")
    else:
        yield Verdict("good", text, "trust")
