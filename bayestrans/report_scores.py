"""The section of a report about stars that the model has not seen."""

from __future__ import annotations

import numpy as np
from scipy import stats

from . import plot
from .pairs import Pairs
from .plot_residuals import differences, draw_by_input
from .posterior import Posterior
from .report_page import (
    NEEDS_PAIRS,
    NONE,
    Heading,
    Part,
    Picture,
    Section,
    Sheet,
    number,
    percent,
    within,
)
from .report_verdicts import Material
from .scores import Evaluation, OutputScore, Score

#: Shares of fewer stars say nothing.
LEAST_STARS = 10

WHY_NOT_TRUTH = (
    "The residuals are drawn against the prediction and the inputs, never against B's value, "
    "measured or true: what was measured high is high partly by chance, so that against it even "
    "a perfect posterior's residuals tilt. Against the prediction and the inputs the medians of "
    "a good model lie at zero."
)


def scores(material: Material) -> Section:
    """Say how good the translation is on stars it has not seen."""
    title = "How good it is on held-out stars"
    if material.evaluation is None or material.pairs is None:
        return Section("scores", title, (NEEDS_PAIRS,))
    found, pairs = material.evaluation, material.pairs
    parts: list[Part] = [
        f"{found.overall.n} stars that should not have been used in the fit. The predictive is of "
        "what B measures, with B's quoted errors, because it is compared with that. NLL is the "
        "negative log density of all outputs together in nats per star, smaller is better; "
        "\u03c3 is the robust spread (1.4826 times the median absolute deviation) and bias the "
        "median of measured minus predicted; CRPS is the continuous ranked probability score.",
        _joint("All outputs together", [("translated", found.overall), *found.rivals.items()]),
    ]
    outputs = material.posterior.spec.outputs
    parts += [_of_output(material.posterior, pairs, found, k) for k in range(len(outputs))]
    parts += [Heading("By support"), *_by_support(found)]
    parts += [Heading("By input"), _by_input(found)]
    parts += [Heading("Residuals"), WHY_NOT_TRUTH, *_residuals(material.posterior, pairs)]
    parts += [Heading("Size of the errors"), *_calibration_pictures(found)]
    return Section("scores", title, tuple(parts))


def _joint(caption: str, rows: list[tuple[str, Score]]) -> Sheet:
    levels = list(next(score.joint_coverage for _, score in rows if score.n))
    head = ("", "stars", "NLL", "energy score", *(within(level) for level in levels))
    return Sheet(
        f"{caption}, with the share of stars inside joint regions of each nominal size",
        head,
        [
            (
                name,
                str(score.n),
                number(score.nll, ".3f"),
                number(score.energy_score, ".3f"),
                *(_share(score, level) for level in levels),
            )
            for name, score in rows
        ],
    )


def _share(score: Score, level: str) -> str:
    return percent(score.joint_coverage.get(level) if score.n >= LEAST_STARS else None)


def _of_output(posterior: Posterior, pairs: Pairs, found: Evaluation, k: int) -> Sheet:
    """Return the scores of one output, before and after."""
    output, column = posterior.spec.outputs[k], posterior.spec.corrects[k]
    score = found.overall.outputs.get(output.name)
    levels = list(score.coverage) if score else []
    rows = []
    if column >= 0:
        change = pairs.y[:, k] - pairs.x[:, column]
        change = change[np.isfinite(change)]
        if len(change):
            rms = float(np.sqrt(np.mean(change**2)))
            sigma = float(stats.median_abs_deviation(change, scale="normal"))
            numbers = (f"{rms:.4g}", f"{sigma:.4g}", f"{np.median(change):+.2g}")
            rows.append(("before: A as it is", *numbers, *[NONE] * (1 + len(levels))))
    named = [("after: translated", found.overall), *found.rivals.items()]
    rows += [
        (name, *_output_row(s.outputs[output.name]))
        for name, s in named
        if output.name in s.outputs
    ]
    unit = f" [{output.unit}]" if output.unit else ""
    caption = f"{output.name}{unit}, with the share of stars inside central intervals"
    head = ("", "rmse", "\u03c3", "bias", "CRPS", *(within(level) for level in levels))
    return Sheet(caption, head, rows)


def _output_row(score: OutputScore) -> tuple[str, ...]:
    numbers = (f"{score.rmse:.4g}", f"{score.mad_sigma:.4g}", f"{score.bias:+.2g}")
    return (*numbers, f"{score.crps:.4g}", *(percent(s) for s in score.coverage.values()))


def _by_support(found: Evaluation) -> tuple[Part, ...]:
    names = list(found.units)
    sigma, inside = [], []
    for group, score in found.by_support:
        enough = score.n >= LEAST_STARS
        outputs = [score.outputs.get(name) if enough else None for name in names]
        sigma.append((group, str(score.n), *(f"{o.mad_sigma:.3g}" if o else NONE for o in outputs)))
        shares = (percent(o.coverage["0.68"]) if o else NONE for o in outputs)
        inside.append((group, str(score.n), *shares))
    titles = tuple(f"{name} [{unit}]" if unit else name for name, unit in found.units.items())
    return (
        "The classes, then the tenths of the held-out stars from the best supported (decile 1) to "
        f"the least (decile 10). Of fewer than {LEAST_STARS} stars no shares are given.",
        _joint("All outputs together", list(found.by_support)),
        Sheet("\u03c3 of measured minus predicted", ("", "stars", *titles), sigma),
        Sheet("Share of stars inside 68 % intervals", ("", "stars", *names), inside),
    )


def _by_input(found: Evaluation) -> Sheet:
    names = list(found.units)
    rows = []
    for one in found.by_input:
        enough = one.score.n >= LEAST_STARS
        outputs = [one.score.outputs.get(name) if enough else None for name in names]
        shares = (percent(o.coverage["0.68"]) if o else NONE for o in outputs)
        place = f"{one.input} {one.low:.4g} to {one.high:.4g}"
        rows.append((place, str(one.score.n), *shares))
    caption = "Share of stars inside 68 % intervals, by fifths of the stars in each input"
    return Sheet(caption, ("", "stars", *names), rows)


def _residuals(posterior: Posterior, pairs: Pairs) -> list[Part]:
    bands = "the line is the running median, the bands the central 68 and 95 % of the stars"
    parts: list[Part] = [
        Picture(
            plot.residuals(posterior, pairs),
            "For each output, measured minus A's value and measured minus translated value "
            "against the predicted value.",
            f"Before (left) and after (right), against the prediction: {bands}.",
        )
    ]
    found = differences(posterior, pairs)
    for k, output in enumerate(posterior.spec.outputs):
        parts.append(
            Picture(
                draw_by_input(posterior, pairs, found, k),
                f"Differences of {output.name} before and after translation against each input.",
                f"{output.name} before (above, where A has it) and after (below), against each "
                f"input that its network sees: {bands}.",
            )
        )
    return parts


def _calibration_pictures(found: Evaluation) -> list[Part]:
    names = list(found.units)
    return [
        Picture(
            plot.coverage(found, names),
            "Share of stars inside central intervals against their nominal probability.",
            "A line above the diagonal means errors that are too large, one below it errors that "
            "are too small; the band is what chance allows at each place, with 95 % probability.",
        ),
        Picture(
            plot.pit_ecdf(found, names),
            "Difference between the distribution of each output's PIT and a uniform one.",
            "The same with its sign. A calibrated model stays within the band everywhere with "
            "95 % probability. Above zero on the left and below on the right: errors too small; "
            "the other way round: too large; on one side throughout: a bias.",
        ),
    ]
