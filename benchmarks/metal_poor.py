"""The metal-poor tail, where training stars are few: scores beside those of rivals.

``python benchmarks/metal_poor.py [--seeds 3] [--stars 4000] [--json FILE] [--workers N]``.
About 3 % of the simulated training stars have [Fe/H] < -1 on survey A's scale; all methods are
trained on all of them and scored on such stars alone, drawn anew from the same Galaxy.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import scoringrules
from _rivals import Floats, Prediction, deep_ensemble, gaussian_process
from _spectrotranslator import spectrotranslator
from _tables import plain
from _workers import add_workers, by_workers

import bayestrans as bt
from bayestrans.baseline import Predictive
from bayestrans.scale import Scaler

#: [Fe/H] on A's scale below which a star is metal-poor.
METAL_POOR = -1.0

#: Stars of which the metal-poor ones, more than 700, are the test.
TEST_STARS = 24_000

#: Added to a seed for the test stars: what the surveys do to a star depends on
#: no seed, so these are other stars of the same two surveys.
TEST_SEED = 1000

#: Central intervals whose coverage is counted.
LEVELS = (0.68, 0.90, 0.95)

#: Deals of the stars from which the intervals of differences come.
BOOTSTRAPS = 1000

#: Draws that stand for the closed forms of the baselines.
BASELINE_DRAWS = 2000

#: A rival that gives several predictions names what is added to its own name.
RIVALS: dict[str, Callable[[bt.Pairs, bt.Pairs, int], Prediction | dict[str, Prediction]]] = {
    "deep ensemble": deep_ensemble,
    "Gaussian process": gaussian_process,
    "reference": partial(spectrotranslator, training="trained"),
}


class Result(NamedTuple):
    """One method's scores on the test stars of one seed.

    Attributes
    ----------
    outputs : dict of str to dict of str to float
        ``n``, ``bias``, ``rmse``, ``68``, ``90``, ``95`` and ``crps`` of each output.
    inside, crps : (star, output) array
        1 inside the central 90 % interval, 0 outside, NaN where B has no value; and the CRPS of
        each star, NaN there too.
    seconds : float
        Wall-clock time of fit and prediction; NaN for what comes with another's fit.
    """

    outputs: dict[str, dict[str, float]]
    inside: Floats
    crps: Floats
    seconds: float


class Run(NamedTuple):
    """What one seed gave: results by method, and groups of test stars by method and name."""

    results: dict[str, Result]
    groups: dict[tuple[str, str], np.ndarray]
    train: int
    train_poor: int


def metal_poor(pairs: bt.Pairs) -> np.ndarray:
    """Return which stars are metal-poor as survey A measures them."""
    return pairs.x[:, pairs.spec.input_names.index("fe_h")] < METAL_POOR


def survey_pair(n_stars: int, seed: int) -> tuple[bt.Pairs, bt.Pairs]:
    """Return training stars of all metallicities, and metal-poor test stars."""
    train, _ = bt.simulate(n_stars, 0, seed=seed).pairs.split(0.2, seed=seed)
    test = bt.simulate(TEST_STARS, 0, seed=TEST_SEED + seed).pairs
    return train, test.take(metal_poor(test))


def sample_baseline(law: Predictive, scaler: Scaler, x: Floats, seed: int) -> Prediction:
    """Return draws from a baseline's Student-t, or Gaussian, of the scaled corrections."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((BASELINE_DRAWS, *law.location.shape))
    if np.isfinite(law.dof):
        noise /= np.sqrt(rng.chisquare(law.dof, (*noise.shape[:2], 1)) / law.dof)
    delta = law.location + law.scale * (noise @ np.linalg.cholesky(law.corr).T)
    return Prediction(scaler.restore(x, delta), scaler.restore(x, law.location))


def score(prediction: Prediction, test: bt.Pairs, seconds: float) -> Result:
    """Score a predictive of measured values against them."""
    draws, residual = prediction.draws, test.y - prediction.mean
    crps = scoringrules.crps_ensemble(test.y, np.moveaxis(draws, 0, -1))
    inside = {}
    for level in LEVELS:
        low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], axis=0)
        within = (test.y >= low) & (test.y <= high)
        inside[level] = np.where(test.seen, within, np.nan)
    outputs = {}
    for k, name in enumerate(test.spec.output_names):
        outputs[name] = {
            "n": float(test.seen[:, k].sum()),
            "bias": float(np.nanmedian(residual[:, k])),
            "rmse": float(np.sqrt(np.nanmean(residual[:, k] ** 2))),
            **{f"{100 * v:.0f}": float(np.nanmean(inside[v][:, k])) for v in LEVELS},
            "crps": float(np.nanmean(crps[:, k])),
        }
    return Result(outputs, inside[0.90], np.asarray(crps), seconds)


def predict(post: bt.Posterior, test: bt.Pairs, seed: int) -> Prediction:
    """Return what the package says of the test stars."""
    draws = post.predict(test, kind="measured", seed=seed)
    return Prediction(draws, post.predict(test, kind="mean").mean(axis=0))


def run(n_stars: int, seed: int, method: bt.MCLMC, *, calibrate: bool) -> Run:
    """Train every method on one set of stars and score it on the metal-poor test stars."""
    train, test = survey_pair(n_stars, seed)
    poor = int(metal_poor(train).sum())
    report(f"seed {seed}: {len(train)} training stars, {poor} metal-poor; {len(test)} test stars")
    begun = time.perf_counter()
    post = bt.fit(train, method=method, calibrate=calibrate, seed=seed)
    found = predict(post, test, seed)
    results = {"bayestrans": score(found, test, time.perf_counter() - begun)}
    if calibrate:
        found = predict(post.uncalibrated, test, seed)
        results["uncalibrated"] = score(found, test, float("nan"))
    classes = bt.support(post, test).classes
    groups = {("bayestrans", c): classes == c for c in ("dense", "sparse", "outside")}
    report(f"  bayestrans {results['bayestrans'].seconds:.0f} s")
    for name, rival in RIVALS.items():
        begun = time.perf_counter()
        given = rival(train, test, seed)
        seconds = time.perf_counter() - begun
        report(f"  {name} {seconds:.0f} s")
        for label, found in (given if isinstance(given, dict) else {"": given}).items():
            results[name + label] = score(found, test, seconds)
            if found.trusted is not None:
                groups[name + label, "trusted"] = found.trusted
                groups[name + label, "not trusted"] = ~found.trusted
    laws = {
        "linear": post.baseline.linear(test.x, post.scaler),
        "identity": post.baseline.identity(len(test)),
    }
    for name, law in laws.items():
        found = sample_baseline(law, post.scaler, test.x, seed)
        results[name] = score(found, test, float("nan"))
    return Run(results, groups, len(train), poor)


def report(line: str) -> None:
    """Tell people how far it is."""
    print(line, file=sys.stderr, flush=True)


def average(runs: Sequence[Run]) -> dict[str, dict[str, dict[str, float]]]:
    """Return each method's scores by output, averaged over the seeds."""
    first = runs[0].results
    return {
        method: {
            name: {
                key: float(np.mean([r.results[method].outputs[name][key] for r in runs]))
                for key in scores
            }
            for name, scores in result.outputs.items()
        }
        for method, result in first.items()
    }


def summarise(runs: Sequence[Run], intrinsic: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return for each method what the outputs give together, averaged over the seeds.

    ``crps`` is the mean over outputs of the CRPS over that of the identity, and
    ``spread`` its standard deviation between seeds; ``intrinsic`` leaves the extrinsic
    outputs out, where a few binaries decide; ``deviation`` is the mean
    absolute difference between coverage and nominal level over levels and outputs.
    """
    summary = {}
    for method in runs[0].results:
        ratios, inner, deviations = [], [], []
        for each in runs:
            scores, plain = each.results[method].outputs, each.results["identity"].outputs
            ratio = {name: scores[name]["crps"] / plain[name]["crps"] for name in scores}
            ratios.append(np.mean(list(ratio.values())))
            inner.append(np.mean([ratio[name] for name in intrinsic]))
            gaps = [abs(s[f"{100 * v:.0f}"] - v) for s in scores.values() for v in LEVELS]
            deviations.append(np.mean(gaps))
        summary[method] = {
            "crps": float(np.mean(ratios)),
            "spread": float(np.std(ratios, ddof=1)) if len(runs) > 1 else float("nan"),
            "intrinsic": float(np.mean(inner)),
            "deviation": float(np.mean(deviations)),
            "seconds": float(np.mean([r.results[method].seconds for r in runs])),
        }
    return summary


def count_groups(runs: Sequence[Run], names: Sequence[str]) -> list[dict[str, Any]]:
    """Return share and 90 % coverage of each group of test stars, pooled over the seeds."""
    rows = []
    for method, group in runs[0].groups:
        chosen = [each.groups[method, group] for each in runs]
        inside = np.concatenate(
            [e.results[method].inside[c] for e, c in zip(runs, chosen, strict=True)]
        )
        count = len(inside)
        covered = np.nanmean(inside, axis=0) if count else np.full(len(names), np.nan)
        rows.append(
            {
                "method": method,
                "group": group,
                "n": count,
                "share": float(np.concatenate(chosen).mean()),
                "coverage": dict(zip(names, covered.tolist(), strict=True)),
            }
        )
    return rows


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as a table whose columns line up, the first of them on the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        cells = [f"{cell:>{width}s}" for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join([f"{first:{widths[0]}s}", *cells]))
    return "\n".join(lines)


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """Return rows, the first of them the titles, as a Markdown table."""
    titles, *others = (f"| {' | '.join(row)} |" for row in rows)
    return "\n".join([titles, "| --- |" + " ---: |" * (len(rows[0]) - 1), *others])


def percent(share: float) -> str:
    return "-" if np.isnan(share) else f"{100 * share:.1f}"


def output_rows(scores: dict[str, Any], titles: dict[str, str]) -> list[list[str]]:
    """Return the large table: every output of every method."""
    levels = [f"{100 * level:.0f}" for level in LEVELS]
    rows = [["method", "output", "n", "bias", "rmse", *(f"in {v}%" for v in levels), "CRPS"]]
    for name, title in titles.items():
        for method, outputs in scores.items():
            s = outputs[name]
            numbers = [f"{s['n']:.0f}", f"{s['bias']:+.2g}", f"{s['rmse']:.4g}"]
            shares = [percent(s[level]) for level in levels]
            rows.append([method, title, *numbers, *shares, f"{s['crps']:.4g}"])
    return rows


def summary_rows(summary: dict[str, dict[str, float]]) -> list[list[str]]:
    rows = [["method", "CRPS/identity", "+-", "intrinsic only", "coverage off by %", "seconds"]]
    for method, s in summary.items():
        spread = "-" if np.isnan(s["spread"]) else f"{s['spread']:.3f}"
        seconds = "-" if np.isnan(s["seconds"]) else f"{s['seconds']:.0f}"
        ratios = [f"{s['crps']:.3f}", spread, f"{s['intrinsic']:.3f}"]
        rows.append([method, *ratios, percent(s["deviation"]), seconds])
    return rows


def group_rows(groups: list[dict[str, Any]], titles: dict[str, str]) -> list[list[str]]:
    rows = [["method", "stars", "n", "share %", *(f"{name} in 90%" for name in titles)]]
    for g in groups:
        shares = [percent(v) for v in g["coverage"].values()]
        rows.append([g["method"], g["group"], str(g["n"]), percent(g["share"]), *shares])
    return rows


def page_rows(
    scores: dict[str, Any], summary: dict[str, dict[str, float]], titles: dict[str, str]
) -> list[list[str]]:
    """Return the short table for a page: CRPS by output, coverage as the mean over outputs."""
    levels = [f"{100 * level:.0f}" for level in LEVELS]
    heads = [*(f"CRPS {title}" for title in titles.values()), "CRPS/identity"]
    rows = [["method", *heads, *(f"inside {level} %" for level in levels), "off by %"]]
    for method, outputs in scores.items():
        crps = [f"{outputs[name]['crps']:.3g}" for name in titles]
        shares = [percent(float(np.mean([o[v] for o in outputs.values()]))) for v in levels]
        total = summary[method]
        rows.append([method, *crps, f"{total['crps']:.3f}", *shares, percent(total["deviation"])])
    return rows


def against_rows(
    runs: Sequence[Run], names: Sequence[str], titles: dict[str, str]
) -> list[list[str]]:
    """Return by how much each method's CRPS is larger than ours, with 95 % intervals.

    By bootstrap over the test stars of all seeds; each star is scored by both.
    """
    rng = np.random.default_rng(0)
    ours = np.concatenate([each.results["bayestrans"].crps for each in runs])
    deals = rng.integers(len(ours), size=(BOOTSTRAPS, len(ours)))
    mean = np.nanmean(ours[deals], axis=1)
    rows = [["method, worse by %", *titles.values()]]
    for method in runs[0].results:
        if method == "bayestrans":
            continue
        theirs = np.concatenate([each.results[method].crps for each in runs])
        away = 100 * (np.nanmean(theirs[deals], axis=1) / mean - 1.0)
        middle = 100 * (np.nanmean(theirs, axis=0) / np.nanmean(ours, axis=0) - 1.0)
        low, high = np.quantile(away, [0.025, 0.975], axis=0)
        cells = [
            f"{middle[k]:.1f} ({low[k]:.1f} to {high[k]:.1f})" for k in map(names.index, titles)
        ]
        rows.append([method, *cells])
    return rows


def bias_rows(scores: dict[str, Any], titles: dict[str, str]) -> list[list[str]]:
    """Return the median of measured minus predicted of each output and method."""
    rows = [["method, bias", *titles.values()]]
    for method, outputs in scores.items():
        rows.append([method, *(f"{outputs[name]['bias']:+.2g}" for name in titles)])
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="how many, from 0 on")
    parser.add_argument("--stars", type=int, default=4000, help="common stars; a fifth is left out")
    parser.add_argument("--seconds", type=float, default=120.0, help="time budget of a network")
    parser.add_argument("--steps", type=int, help="MCLMC steps instead of a time budget")
    parser.add_argument("--uncalibrated", action="store_true", help="no held-out regions")
    parser.add_argument("--json", type=Path, help="file for the numbers")
    add_workers(parser)
    options = parser.parse_args(arguments)
    machine = f"{os.cpu_count()} cores, {platform.processor() or platform.machine()}"
    print(f"{machine}, jax {jax.__version__}")
    method = bt.MCLMC(time_budget=options.seconds, steps=options.steps)
    calibrate = not options.uncalibrated
    one = partial(run, options.stars, method=method, calibrate=calibrate)
    runs = list(by_workers(one, range(options.seeds), options.workers))
    spec = bt.simulate(1, 0).spec
    titles = {o.name: f"{o.name} [{o.unit}]" if o.unit else o.name for o in spec.outputs}
    scores = average(runs)
    summary = summarise(runs, [o.name for o in spec.outputs if not o.extrinsic])
    groups = count_groups(runs, spec.output_names)
    trained = ", ".join(f"{r.train} ({r.train_poor} metal-poor)" for r in runs)
    print(f"training stars: {trained}; {method}\n")
    print(aligned(output_rows(scores, titles)), end="\n\n")
    print(aligned(summary_rows(summary)), end="\n\n")
    print(aligned(group_rows(groups, titles)), end="\n\n")
    print(markdown(page_rows(scores, summary, titles)), end="\n\n")
    print(markdown(bias_rows(scores, titles)), end="\n\n")
    print(markdown(against_rows(runs, spec.output_names, titles)))
    if options.json:
        sheet: dict[str, Any] = {"machine": machine, "training": trained, "method": repr(method)}
        sheet |= {"scores": scores, "summary": summary, "groups": groups}
        sheet["seeds"] = [{m: r.outputs for m, r in e.results.items()} for e in runs]
        options.json.write_text(json.dumps(plain(sheet), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
