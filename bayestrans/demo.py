"""The main job on invented surveys, where the truth is known."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from . import plot
from .calibration import describe
from .catalogue import write_table
from .diagnose import diagnose
from .evaluate import evaluate
from .files import whole, write_text
from .infer import fit
from .mclmc import MCLMC
from .neighbours import CLASSES
from .pairs import Pairs
from .posterior import Posterior
from .report import report
from .scores import Evaluation
from .simulate import simulate, to_columns
from .spec import Spec
from .translate import translate


class Demo(NamedTuple):
    """What `demo` leaves.

    Attributes
    ----------
    folder : Path
    held_out : dict
        The score sheet on held-out stars, as ``evaluate --json`` prints it.
    against_truth : list of dict
        Per output and support class of the translated catalogue: stars, rmse
        before and after, bias, and the share of true values between ``p16``
        and ``p84``.
    """

    folder: Path
    held_out: dict[str, Any]
    against_truth: list[dict[str, Any]]


def demo(
    folder: str | Path = "demo",
    *,
    n_common: int = 3000,
    n_catalogue: int = 20_000,
    method: MCLMC | None = None,
    seed: int = 1,
    overwrite: bool = False,
    progress: bool = True,
) -> Demo:
    """Simulate two surveys, fit, judge on held-out stars, translate, and draw.

    Parameters
    ----------
    folder : path
        Where the pairs, the spec, the model, the catalogue, the scores, the
        pictures and a report of them all go.
    n_common, n_catalogue : int
        Common stars, of which a fifth is held out, and stars to translate.
    method : MCLMC
        By default with a time budget of two minutes for each network.
    seed : int
    overwrite : bool
        Replace what an earlier demo left in the folder.
    progress : bool

    Returns
    -------
    Demo

    Raises
    ------
    FileExistsError
        If the folder holds a demo already.
    """
    folder = Path(folder)
    if (folder / "model.nc").exists() and not overwrite:
        raise FileExistsError(
            f"{folder} holds a demo already; pass overwrite (--overwrite), or another folder"
        )
    folder.mkdir(parents=True, exist_ok=True)
    begun = time.perf_counter()
    pair = simulate(n_common, n_catalogue, seed=seed)
    write_table(Table(to_columns(pair)), folder / "pairs.csv", overwrite=True)
    write_text(folder / "spec.toml", pair.spec.to_toml())
    train, test = pair.pairs.split(0.2, seed=seed)
    method = method or MCLMC(time_budget=120.0)
    posterior = fit(train, method=method, seed=seed, progress=progress)
    posterior.save(folder / "model.nc", overwrite=True)
    evaluation = evaluate(posterior, test)
    stars = Table(pair.catalogue)
    result = translate(
        posterior, stars, folder / "catalogue.parquet", overwrite=True, progress=progress
    )
    write_table(result, folder / "catalogue.fits", overwrite=True)
    against = against_truth(result, stars, pair.catalogue_truth["y"], posterior.spec)
    _draw(folder, posterior, evaluation, test, stars, result)
    report(posterior, folder, pairs=test, catalogue=result, overwrite=True)
    told = [
        f"Held-out stars ({len(test)} of {n_common}), predictive of what B measures:",
        str(evaluation),
        "",
        f"Translated catalogue ({n_catalogue} stars) against the true values on B's scale:",
        *_truth_table(against),
        "",
        "Regions held out in turn: "
        + describe(posterior.record["held_out_regions"], posterior.neighbours.thresholds),
        "",
        "Sampling:",
        str(diagnose(posterior)),
        "",
        f"{time.perf_counter() - begun:.0f} s in all.",
    ]
    write_text(folder / "scores.txt", "\n".join(told) + "\n")
    held_out = evaluation.to_dict()
    sheet = {"held_out": held_out, "against_truth": against}
    write_text(folder / "scores.json", json.dumps(sheet, indent=1))
    return Demo(folder, held_out, against)


def _draw(
    folder: Path,
    posterior: Posterior,
    evaluation: Evaluation,
    test: Pairs,
    stars: Table,
    result: Table,
) -> None:
    pictures = {
        "residuals": plot.residuals(posterior, test),
        "coverage": plot.coverage(evaluation, posterior.spec.output_names),
        "kiel": plot.kiel(result),
        "training_coverage": plot.training_coverage(posterior, stars),
        "coverage_by_support": plot.coverage_by_support(evaluation),
        "width_by_support": plot.width_by_support(result),
    }
    for name, figure in pictures.items():
        with whole(folder / f"{name}.png") as partial:
            figure.savefig(partial, dpi=200, format="png")


def against_truth(
    result: Table, stars: Table, truth: NDArray[np.float64], spec: Spec
) -> list[dict[str, Any]]:
    """Hold a translated catalogue against the true values (N, K), by support class."""
    classes = np.asarray(result["support_class"])
    rows = []
    for k, output in enumerate(spec.outputs):
        value, column = truth[:, k], spec.corrects[k]
        before = np.asarray(stars[spec.inputs[column].column]) if column >= 0 else np.nan
        mean = np.asarray(result[f"{output.name}_mean"])
        low, high = (np.asarray(result[f"{output.name}_{p}"]) for p in ("p16", "p84"))
        for name in ("all", *CLASSES):
            chosen = np.ones(len(result), dtype=bool) if name == "all" else classes == name
            if not chosen.any():
                continue
            error = (mean - value)[chosen]
            rows.append(
                {
                    "output": output.name,
                    "class": name,
                    "n": int(chosen.sum()),
                    "rmse_before": float(np.sqrt(np.mean(((before - value)[chosen]) ** 2))),
                    "rmse_after": float(np.sqrt(np.mean(error**2))),
                    "bias": float(np.median(error)),
                    "coverage_68": float(np.mean(((low <= value) & (value <= high))[chosen])),
                }
            )
    return rows


def _truth_table(rows: list[dict[str, Any]]) -> list[str]:
    head = (
        f"{'output':10s}{'class':>9s}{'n':>7s}"
        f"{'rmse before':>13s}{'after':>9s}{'bias':>10s}{'p16-p84':>9s}"
    )
    return [
        head,
        *(
            f"{r['output']:10s}{r['class']:>9s}{r['n']:7d}{r['rmse_before']:13.4g}"
            f"{r['rmse_after']:9.4g}{r['bias']:+10.2g}{100 * r['coverage_68']:8.1f}%"
            for r in rows
        ),
    ]
