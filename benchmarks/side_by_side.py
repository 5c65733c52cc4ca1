"""Every method on the same held-out stars: `make bench` runs this.

``python benchmarks/side_by_side.py [--pairs NAME ...] [--methods NAME ...]`` trains each
method on each split of each pair in a process of its own and keeps what it found in the
folder ``--keep``; what is there already is not run again. Then it prints the tables of all
that is kept and writes them as JSON and as Markdown. Real pairs are left out where ``--data``
lacks them; pairs of which nothing is kept stay as that JSON has them.

``BAYESTRANS_BDE_PYTHON`` names the Python of an environment with sklearn-contrib-bde.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from _survey_pairs import DATA, REAL, Split, intrinsic, random_splits, read, some, tails

import bayestrans as bt

#: Inputs of which the lowest and highest stars are held out as regions.
TAILS = ("fe_h",)

#: NUTS needs minutes for each fit of a small pair, and hours for the others.
ONLY_SMALL = ("NUTS",)
SMALL = 1000

#: As many training stars and outputs as the reference's demonstration has, for the
#: costs of these methods alone.
LARGE = "simulated, 14,000 stars"
ONLY_LARGE = ("bayestrans MCLMC, 2 x 500 steps", "bayestrans MCLMC, 1,000 steps")
OURS = "bayestrans MCLMC"
OUR_METHODS = ("bayestrans Ensemble", "bayestrans SVI", "bayestrans NUTS", *ONLY_LARGE, OURS)
FOR_LARGE = (
    "linear",
    "reference, as its notebook",
    "reference, trained",
    "deep ensemble",
    "bayestrans Ensemble",
    "bayestrans SVI",
    *ONLY_LARGE,
    "bayestrans MCLMC",
)

#: The seeds of simulated surveys. Stars to judge by cost nothing there: of each survey 4,800 are
#: held out, and 3,200 train. What holds of one survey need not hold of the next. The several are
#: for scores beside the strongest rivals, without regions, and without the reference and our own
#: quick methods.
SEVERAL = "simulated, three more surveys"
SURVEYS = {"simulated": (11,), SEVERAL: (21, 22, 23)}
SIMULATED, SIMULATED_HELD_OUT = 8000, 0.6
NOT_SEVERAL = (
    "reference, as its notebook",
    "reference, trained",
    "bayestrans Ensemble",
    "bayestrans SVI",
)

Run = Callable[[bt.Pairs, bt.Pairs, int], Any]


def polynomial(degree: int) -> Run:
    import _polynomials

    return partial(_polynomials.polynomial, degree=degree)


def from_module(module: str, function: str, **options: Any) -> Run:
    return partial(getattr(__import__(module), function), **options)


def ours(name: str) -> Callable[[], Run]:
    method = name.removeprefix("bayestrans ")
    return partial(from_module, "_ours", "bayestrans", method=method)


#: What runs a method; imported in its own process alone, so that each is charged for its own.
METHODS: dict[str, Callable[[], Run]] = {
    "identity + offset": partial(polynomial, 0),
    "linear": partial(polynomial, 1),
    "quadratic": partial(polynomial, 2),
    "cubic": partial(polynomial, 3),
    "reference, as its notebook": partial(
        from_module, "_spectrotranslator", "spectrotranslator", training="notebook"
    ),
    "reference, trained": partial(
        from_module, "_spectrotranslator", "spectrotranslator", training="trained"
    ),
    "deep ensemble": partial(from_module, "_rivals", "deep_ensemble"),
    "Gaussian process": partial(from_module, "_rivals", "gaussian_process"),
    "CatBoost": partial(from_module, "_trees", "catboost"),
    "NGBoost": partial(from_module, "_trees", "ngboost"),
    "sklearn-contrib-bde": partial(from_module, "_bde", "bde"),
    **{name: ours(name) for name in OUR_METHODS},
}

PAIRS = ("simulated", SEVERAL, *REAL, LARGE)


def pairs_of(name: str, folder: Path) -> bt.Pairs | None:
    """Return a pair; a simulated one with its velocity, and the first of several."""
    if name == LARGE:
        return intrinsic(bt.simulate(17_500, 10, seed=12).pairs)
    return simulated(SURVEYS[name][0]) if name in SURVEYS else read(name, folder)


def simulated(seed: int) -> bt.Pairs:
    return bt.simulate(SIMULATED, 10, seed=seed).pairs


def splits(name: str, pairs: bt.Pairs) -> Iterator[Split]:
    """Yield the random splits, then the regions; one split of each of several surveys."""
    surveys = SURVEYS.get(name)
    yield from random_splits(pairs, SIMULATED_HELD_OUT if surveys else 0.2)
    for seed in (surveys or ())[1:]:
        yield from random_splits(simulated(seed), SIMULATED_HELD_OUT)
    if name not in (LARGE, SEVERAL):
        yield from tails(some(pairs), TAILS)


def file_of(keep: Path, pair: str, method: str) -> Path:
    return keep / (re.sub(r"[^a-z0-9]+", "_", f"{pair} {method}".lower()).strip("_") + ".npz")


def work(pair: str, method: str, folder: Path, path: Path) -> None:
    """Run one method on all splits of a pair and write the scores of each star."""
    import _cost
    from _completed import completed
    from _scores import score

    pairs = pairs_of(pair, folder)
    assert pairs is not None
    run = METHODS[method]()
    found: dict[str, list] = {}
    costs = []
    for seed, split in enumerate(splits(pair, pairs)):
        seen = split.train, split.test
        whole = completed(*seen)
        _cost.begin()
        begun = _cost.clocks()
        answer = run(*(seen if method.startswith("bayestrans") else whole), seed)
        wall, cpu = (now - then for now, then in zip(_cost.clocks(), begun, strict=True))
        spent = {"wall": wall, "cpu": cpu}
        about = {"split": split.name, "region": split.region, "train": len(split.train)}
        costs.append(about | spent | _cost.told())
        if not isinstance(answer, dict):
            answer = {"": answer}
        for label, prediction in answer.items():
            scores = score(prediction, *seen, whole)
            found.setdefault(method + label, []).append(scores)
    arrays = {
        f"{label}|{number}|{field}": values
        for label, parts in found.items()
        for number, scores in enumerate(parts)
        for field, values in scores._asdict().items()
    }
    half = path.with_suffix(".part")
    with half.open("wb") as stream:
        np.savez_compressed(stream, notes=json.dumps({"costs": costs}), **arrays)
    half.replace(path)


def wanted(pair: str, method: str, pairs: bt.Pairs) -> bool:
    if pair == LARGE:
        return method in FOR_LARGE
    if method in ONLY_LARGE or (pair == SEVERAL and method in NOT_SEVERAL):
        return False
    if method.split()[-1] in ONLY_SMALL and len(pairs) > SMALL:
        return False
    if method == "sklearn-contrib-bde" and not os.environ.get("BAYESTRANS_BDE_PYTHON"):
        print("sklearn-contrib-bde: no environment given; left out", file=sys.stderr)
        return False
    return True


def run_all(options: argparse.Namespace) -> bool:
    """Run what has not been run, each pair and method in a process of its own; say if all ended."""
    options.keep.mkdir(parents=True, exist_ok=True)
    whole = True
    for pair in options.pairs:
        pairs = pairs_of(pair, options.data)
        if pairs is None:
            continue
        for method in options.methods:
            path = file_of(options.keep, pair, method)
            if path.exists() or not wanted(pair, method, pairs):
                continue
            begun = time.perf_counter()
            command = [sys.executable, __file__, "--data", options.data, "--keep", options.keep]
            command += ["--work", pair, method]
            done = subprocess.run(command, capture_output=True, text=True)
            spent = time.perf_counter() - begun
            ended = "done" if done.returncode == 0 else f"FAILED\n{done.stderr[-3000:]}"
            whole &= done.returncode == 0
            print(f"{pair}: {method}: {spent:.0f} s, {ended}", file=sys.stderr, flush=True)
    return whole


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--pairs", nargs="*", choices=PAIRS, default=PAIRS)
    parser.add_argument("--methods", nargs="*", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--keep", type=Path, default=Path("build/side_by_side"))
    parser.add_argument("--json", type=Path, help="file for the numbers")
    parser.add_argument("--page", type=Path, help="file for the tables, as Markdown")
    parser.add_argument("--more", type=Path, help="file for those that few ask for, as Markdown")
    parser.add_argument("--work", nargs=2, metavar=("PAIR", "METHOD"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(*options.work, options.data, file_of(options.keep, *options.work))
        return
    whole = run_all(options)
    report(options)
    if not whole:
        raise SystemExit("some methods failed (above)")


def report(options: argparse.Namespace) -> None:
    """Print the tables of what has been run, and write them."""
    from _tables import collect, more, page, plain, with_nan

    results = {}
    if options.json and options.json.exists():
        results = with_nan(json.loads(options.json.read_text(encoding="utf-8")))
    for pair in options.pairs:
        files = {m: file_of(options.keep, pair, m) for m in METHODS}
        files = {m: path for m, path in files.items() if path.exists()}
        if files:
            pairs = pairs_of(pair, options.data)
            assert pairs is not None
            results[pair] = collect(files, pairs.spec.output_names, OURS)
    results = {pair: results[pair] for pair in PAIRS if pair in results}
    text = page(results, OURS)
    print(text)
    if options.page:
        options.page.write_text(text, encoding="utf-8")
    if options.more:
        options.more.write_text(more(results, OURS), encoding="utf-8")
    if options.json:
        text = json.dumps(plain(results), indent=1, allow_nan=False)
        options.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
