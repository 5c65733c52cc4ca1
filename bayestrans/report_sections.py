"""The sections of a report, each a small function from what is known to words and pictures.

To add one, write such a function and put it into `SECTIONS`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import plot
from .answers import FLAGS
from .neighbours import CLASSES
from .plot_diagnose import pictures
from .plot_style import decimals, signed
from .plot_support import training_inputs
from .posterior import Posterior
from .report_page import (
    NEEDS_PAIRS,
    NONE,
    Bullets,
    Commands,
    Heading,
    Part,
    Picture,
    Section,
    Sheet,
    number,
    percent,
    within,
)
from .report_scores import scores
from .report_verdicts import Material, Translated
from .shapley import MOST_PLAYERS
from .spec import Input, Output

Floats = NDArray[np.float64]

#: Support scores at which the calibration is shown.
SCORES = (0.5, 1.0, 1.5, 2.0, 3.0, 5.0)

NEEDS_CATALOGUE = (
    "How a catalogue of survey A is covered is shown here when its translation is given "
    "(--catalogue)."
)


def sections(material: Material) -> list[Section]:
    """Return all sections of a report, in order."""
    return [section(material) for section in SECTIONS]


def trained(material: Material) -> Section:
    """Say what was learned from what."""
    posterior = material.posterior
    return Section(
        "trained",
        "What was trained",
        (
            "What the model takes from survey A, and what it gives on survey B's base:",
            _inputs(posterior),
            _outputs(posterior),
            _gaps(posterior),
            Sheet("The fit", (), _facts(posterior), text=True),
        ),
    )


def _inputs(posterior: Posterior) -> Sheet:
    rows = []
    for j, item in enumerate(posterior.spec.inputs):
        used = "used" if posterior.scaler.log_err_scale[j] > 0 else "constant or none: not used"
        seen = "its own output only" if item.extrinsic else "every network"
        rows.append((*_column(item), used if item.error else NONE, seen))
    head = ("input", "unit", "column", "error column", "quoted errors", "seen by")
    return Sheet("Inputs: survey A", head, rows, text=True)


def _outputs(posterior: Posterior) -> Sheet:
    rows, scaler = [], posterior.scaler
    networks = {k: b.block.name for b in posterior.blocks for k in b.block.outputs}
    for k, item in enumerate(posterior.spec.outputs):
        digits = decimals(scaler.delta_scale[k])
        centre = signed(scaler.delta_centre[k], digits)
        change = f"{centre} \u00b1 {scaler.delta_scale[k]:.{digits}f}"
        rows.append((*_column(item), item.corrects or "nothing", networks[k], change))
    what = "B \u2212 A of training stars"
    head = ("output", "unit", "column", "error column", "corrects", "network", what)
    return Sheet(
        "Outputs: survey B. The last column is the median and robust spread of the correction "
        "(of the value itself where nothing is corrected)",
        head,
        rows,
        text=True,
    )


def _column(item: Input | Output) -> tuple[str, str, str, str]:
    return item.name, item.unit or NONE, item.column, item.error or "none"


def _gaps(posterior: Posterior) -> str:
    missing, kinds = posterior.record.get("missing_inputs", 0), len(posterior.density.kinds)
    if not missing:
        return "No training star lacked an input."
    text = f"{missing} missing input values of training stars were integrated over."
    if kinds > 1:
        text += f" By what they lack, the stars fall into {kinds} kinds, which the networks know."
    return text


def _facts(posterior: Posterior) -> list[tuple[str, str]]:
    record, network, noise = posterior.record, posterior.network, posterior.noise
    widths = ", ".join(map(str, network.hidden)) or "none: a linear map"
    dof = "learned" if noise.dof is None else f"fixed at {noise.dof:g}"
    with_outliers = " with outliers" if noise.outliers else ""
    known = "learned from the inputs" if noise.scatter is None else "known"
    together = "with correlations" if noise.correlated else "without correlations"
    versions = ", ".join(f"{name} {v}" for name, v in record.get("versions", {}).items())
    seconds = record.get("fit_seconds")
    return [
        ("training stars", str(record.get("stars", len(posterior.neighbours.points)))),
        ("networks", ", ".join(block.block.name for block in posterior.blocks)),
        ("hidden layers", f"{widths} ({network.activation})"),
        ("scatter", f"Student-t{with_outliers}, {known}, degrees of freedom {dof}, {together}"),
        ("method", str(record.get("method", "not recorded"))),
        ("posterior draws", str(posterior.n_draws)),
        ("seed", str(record.get("seed", "not recorded"))),
        ("fitted", str(record.get("utc", "not recorded"))),
        ("time", "not recorded" if seconds is None else f"{seconds:g} s"),
        ("precision", f"{record.get('precision', NONE)} on {record.get('backend', NONE)}"),
        ("versions", versions or "not recorded"),
        ("digest (SHA-256)", posterior.digest),
    ]


def convergence(material: Material) -> Section:
    """Say whether the sampler can be believed."""
    agree, draws, settings = [], [], []
    for name, block in material.diagnosis.blocks.items():
        rhat = [*(block.rhat[p] for p in ("50", "90")), block.scatter_rhat["90"]]
        numbers = [number(value, ".3f") for value in rhat]
        verdict = "warned" if block.warnings else "good"
        agree.append((name, *numbers, number(block.mode_spread, ".2f"), verdict))
        numbers = [number(ess[p], ".0f") for ess in (block.ess_bulk, block.ess_tail) for p in ess]
        errors = [number(error["90"], ".2g") for error in (block.mcse_mean, block.mcse_sd)]
        draws.append((name, *numbers, *errors))
        said = (
            f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in block.tuning.items()
        )
        settings.append((name, ", ".join(said) or "not recorded"))
    agree_head = ("network", "R-hat 50 %", "90 %", "of the scatter", "spread", "verdict")
    agree_caption = (
        "Do the chains agree? Over the probe stars: R-hat at its 50th and 90th percentile, that "
        "of the scatter at its 90th, and the spread between chains over that within"
    )
    draws_head = ("network", "bulk ESS 50 %", "10 %", "tail ESS 50 %", "10 %", "error of mean")
    draws_caption = (
        "Are there enough draws? Effective draws at their 50th and 10th percentile, and Monte "
        "Carlo errors of mean and sd over the predictive's spread at their 90th"
    )
    loo = [
        (name, f"{one.n}", f"{one.nll:.3f} ± {one.se:.3f}", number(one.p, ".1f"), f"{one.bad}")
        for name, one in material.diagnosis.loo.items()
    ]
    loo_head = ("network", "stars", "NLL of a star", "effective parameters", "unreliable")
    return Section(
        "convergence",
        "Convergence, and the fit to its own stars",
        (
            "Judged by what the networks predict at probe stars. Weights of networks can be "
            "swapped without changing a prediction, so that their own R-hat means nothing.",
            Sheet(agree_caption, agree_head, agree),
            Sheet(draws_caption, (*draws_head, "of sd"), draws),
            Sheet("The sampler", ("network", "what it recorded"), settings, text=True),
            *([Sheet("Training stars, each left out in turn", loo_head, loo)] if loo else []),
            *(
                Picture(figure, *DIAGNOSES[name])
                for name, figure in pictures(material.diagnosis).items()
            ),
        ),
    )


#: Alternative text and caption of each picture of a diagnosis.
DIAGNOSES = {
    "trace_rank": (
        "Draws and ranks of the predictions of each chain at one probe star for each output.",
        "The probe star at which chains differ most. Left: draws of its prediction; right: ranks "
        "of each chain among all draws, which should stay within the band.",
    ),
    "loo_pit": (
        "Leave-one-out probability integral transforms of each output, less the uniform.",
        "Training stars, each left out in turn: within the band, errors are of the right size.",
    ),
    "predictive_check": (
        "Statistics of the residuals of each output beside those of replicated stars.",
        "Residuals of training stars (line) and of stars that the model invents in their places.",
    ),
}


def calibration(material: Material) -> Section:
    """Say what was learned from regions held out of the training stars."""
    title, posterior = "What was learned where stars are few", material.posterior
    regions = posterior.record.get("held_out_regions")
    if not regions:
        said = "This model was not calibrated on regions of the training stars held out in turn."
        return Section("calibration", title, (said,))
    sparse, outside = posterior.neighbours.thresholds
    change = posterior.calibration.at(np.array(SCORES))
    head, names = ("support", *(f"{s:g}" for s in SCORES)), posterior.spec.output_names
    usual, doubting = (
        [(name, *map("{:.2f}".format, f)) for name, f in zip(names, factors.T, strict=True)]
        for factors in (change.stretch, change.stretch * change.doubt)
    )
    return Section(
        "calibration",
        title,
        (
            "The networks were refitted without each of some regions of the training stars, tails "
            "and holes and, for comparison, random parts. From what happened there the model has "
            "learned how far to stretch its errors as a function of the support: 1 at the usual "
            "spacing of training stars, larger where they are rarer. One draw in four doubts the "
            f"network there. Stars are sparse from {sparse:.2f} and outside from {outside:.2f}.",
            _regions(regions),
            Sheet("Factor on the errors, by support", head, usual),
            Sheet("The same, of the draws that doubt the network", head, doubting),
        ),
    )


def _regions(regions: dict[str, Any]) -> Sheet:
    levels = [name for name in regions["random"]["before"] if name != "nll"]
    rows = [
        (
            f"{name}, {which}",
            str(found["n"]),
            number(found[which]["nll"], ".3f"),
            *(percent(found[which][level]) for level in levels),
        )
        for name, found in regions.items()
        if found["n"]
        for which in ("before", "after")
    ]
    return Sheet(
        "Held-out stars before and after what was learned without them: stars times outputs, NLL "
        "of each output, and the share inside central intervals",
        ("", "n", "NLL", *(within(level) for level in levels)),
        rows,
    )


def rests_on(material: Material) -> Section:
    """Say which inputs the corrections rest on, and where errors come from."""
    title, found = "What it rests on", material.importance
    if found is None:
        said = f"More than {MOST_PLAYERS} inputs: give importance groups of them."
        return Section("importance", title, (said,))
    table = found.table().query("what == 'share' and target == 'correction'")
    names = (table["output"] + ": " + table["input"]).tolist()
    numbers = table[["mean", "lower", "upper"]].to_numpy(dtype=float)
    rows = [
        (name, percent(mean), f"{percent(low)} to {percent(high)}")
        for name, (mean, low, high) in zip(names, numbers, strict=True)
    ]
    return Section(
        "importance",
        title,
        (
            "How much of the correction's variance between stars each input of survey A explains "
            "(Shapley effects: inputs that go together share what they explain together), and "
            "how much the output changes, on average, with each input by itself.",
            Picture(
                plot.importance(found),
                "Shares of the correction's variance, and changes per standard deviation of "
                "each input, with intervals.",
                "Thick and thin: central 68 and 95 % of the posterior.",
            ),
            Sheet("Shares of the correction's variance", ("", "mean", "95 %"), rows),
            Picture(
                plot.error_budget(found),
                "Shares of the variance of each output by where it comes from.",
                "Where the errors come from, averaged over stars: more training stars make only "
                "the model's part smaller, better errors of survey A only theirs.",
            ),
        ),
    )


def trust(material: Material) -> Section:
    """Say which stars to trust."""
    posterior, pairs, found = material.posterior, material.pairs, material.evaluation
    parts: list[Part] = [_ranges(posterior)]
    if pairs is None or found is None:
        parts.append(NEEDS_PAIRS)
    else:
        parts += [
            Picture(
                plot.training_coverage(posterior, pairs, called="held-out stars"),
                "The inputs of the held-out stars over those of the training stars.",
                "Grey: contours around 50, 90 and 99 % of the training stars. Points: held-out "
                "stars by their class of support.",
            ),
            Picture(
                plot.coverage_by_support(found),
                "Share of held-out stars inside intervals against their nominal probability, "
                "for each class of support.",
                "Coverage of each class: a line below the diagonal means errors that are too "
                "small; the bands are 95 % binomial uncertainties.",
            ),
        ]
    parts += [NEEDS_CATALOGUE] if material.catalogue is None else _catalogue(material.catalogue)
    return Section("trust", "Where to trust it", tuple(parts))


def _ranges(posterior: Posterior) -> Sheet:
    x, rows = training_inputs(posterior.neighbours), []
    for values, j in zip(x.T, posterior.neighbours.inputs, strict=True):
        item = posterior.spec.inputs[j]
        places = np.quantile(values, [0, 0.025, 0.5, 0.975, 1])
        rows.append((f"{item.name} [{item.unit}]" if item.unit else item.name, *_round(places)))
    head = ("input", "least", "2.5 %", "median", "97.5 %", "largest")
    return Sheet("Where the training stars lie, missing values at what is expected", head, rows)


def _round(values: Floats) -> list[str]:
    """Return numbers with three digits of what they span."""
    digits = max(0, 2 - int(np.floor(np.log10(max(1e-9, float(np.ptp(values)))))))
    return [f"{value:.{digits}f}" for value in values]


def _catalogue(found: Translated) -> list[Part]:
    total = max(1, found.total)
    classes = [(n, str(found.classes[n]), percent(found.classes[n] / total)) for n in CLASSES]
    flags = [(f"{bit}: {text}", str(found.flags[bit])) for bit, text in FLAGS.items()]
    parts: list[Part] = [
        Heading("The translated catalogue"),
        Sheet(f"Its {found.total} stars by class of support", ("", "stars", "share"), classes),
        Sheet("Stars with each flag", ("flag", "stars"), flags),
    ]
    thinned = (
        f" Drawn are {len(found.stars)} evenly spaced rows of the catalogue."
        if len(found.stars) < found.total
        else ""
    )
    if np.isfinite(np.asarray(found.stars["support"], dtype=float)).any():
        parts.append(
            Picture(
                plot.width_by_support(found.stars),
                "Half of each output's 68 % interval against the support score.",
                "How errors grow where training stars are rarer: running median and central 68 % "
                f"of the stars; lines where the classes begin.{thinned}",
            )
        )
        if {"teff_mean", "logg_mean"} <= set(found.stars.colnames):
            parts.append(
                Picture(
                    plot.kiel(found.stars),
                    "Kiel diagram of the translated catalogue, coloured by support.",
                    f"Bright: few training stars near them; crosses: outside.{thinned}",
                )
            )
    return parts


def next_steps(material: Material) -> Section:
    """Say what to do with the model."""
    steps = (
        "Deal with the warnings and cautions above, in their order; each says what to do.",
        "Use the stars of class dense as they are, those of class sparse with their larger "
        "errors; do not use stars outside without checking.",
        "Use p16, p50 and p84 where scatter has heavy tails: there the standard deviation says "
        "less than they do.",
        "The catalogue gives B's true parameters, without B's measurement error; add that before "
        "comparing with what B measures.",
        "Where many stars are sparse or outside, find common stars there and fit again.",
    )
    commands = [
        "bayestrans diagnose MODEL.nc --out DIAGNOSIS",
        "bayestrans translate MODEL.nc CATALOGUE --out TRANSLATED.parquet",
        "bayestrans report MODEL.nc --out REPORT --pairs HELD_OUT --catalogue TRANSLATED.parquet",
    ]
    return Section("next", "What to do next", (Bullets(steps), Commands(tuple(commands))))


#: In the order of the page: from what was trained to what to trust.
SECTIONS: tuple[Callable[[Material], Section], ...] = (
    trained,
    convergence,
    scores,
    calibration,
    rests_on,
    trust,
    next_steps,
)
