"""Tables of what `side_by_side` found, as numbers and as Markdown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from _scores import LEVELS, Scores, chosen, differences, joined, off_by, off_most, sheet

#: Which held-out stars a table is of.
GROUPS = {
    "random": "Random held-out stars",
    "sparse": "Of these, the fifth with the fewest training stars about them",
    "region": "Regions held out whole",
}


#: What is known of the cost of a split, in seconds and MiB, and effective draws.
COSTS = ("wall", "cpu", "predict_wall", "predict_cpu", "fit_MiB", "predict_MiB", "effective")


class Found:
    """What one method said of one pair, read from its file."""

    def __init__(self, path: Path) -> None:
        with np.load(path) as archive:
            notes = json.loads(str(archive["notes"]))
            arrays = {name: archive[name] for name in archive.files if name != "notes"}
        self.costs: list[dict[str, Any]] = notes["costs"]
        self.parts: dict[str, list[Scores]] = {}
        for label in dict.fromkeys(name.split("|")[0] for name in arrays):
            self.parts[label] = [
                Scores(*(arrays[f"{label}|{number}|{field}"] for field in Scores._fields))
                for number in range(len(self.costs))
            ]

    def group(self, label: str, group: str) -> Scores:
        """Return the scores of a group of stars over all splits."""
        parts = zip(self.parts[label], self.costs, strict=True)
        scores = joined([p for p, cost in parts if cost["region"] == (group == "region")])
        return chosen(scores, scores.sparse) if group == "sparse" else scores

    def cost(self) -> dict[str, float]:
        """Return what a random split takes, as the mean over them; the fit is what is not said."""
        splits = [c for c in self.costs if not c["region"]]
        found = {
            name: float(np.mean([c[name] for c in splits])) for name in COSTS if name in splits[0]
        }
        for clock in ("wall", "cpu"):
            found[f"fit_{clock}"] = found[clock] - found[f"predict_{clock}"]
        return found


def collect(files: dict[str, Path], names: tuple[str, ...], ours: str) -> dict[str, Any]:
    """Return everything that is known of one pair as plain numbers."""
    every = {method: Found(path) for method, path in files.items()}
    result: dict[str, Any] = {"outputs": list(names), "groups": {}, "costs": {}}
    for method, found in every.items():
        result["costs"][method] = found.cost()
    for group in GROUPS:
        if group == "region" and not any(c["region"] for f in every.values() for c in f.costs):
            continue
        best = every[ours].group(ours, group) if ours in every else None
        rows = {}
        for found in every.values():
            for label in found.parts:
                scores = found.group(label, group)
                rows[label] = {**sheet(scores, names)}
                if best is not None and label != ours:
                    rows[label]["against_ours"] = differences(best, scores, names)
        result["groups"][group] = rows
    return result


def page(results: dict[str, Any], ours: str) -> str:
    """Return all tables as Markdown."""
    lines = ["## At a glance", "", *_at_a_glance(results, ours), ""]
    for pair, result in results.items():
        lines += [f"## {pair}", ""]
        for group, rows in result["groups"].items():
            title = GROUPS[group]
            count = next(iter(rows.values()))["n"]
            lines += [f"**{title}** ({count} stars)", "", *_scores(rows, result["outputs"], ours)]
            lines.append("")
        lines += [
            "**Cost** of a random split: seconds over those of our fit, effective draws over ours",
            "",
        ]
        lines += [*_costs(result["costs"], ours), ""]
    return "\n".join(lines)


def more(results: dict[str, Any], ours: str) -> str:
    """Return, as Markdown, moments of the residuals, differences with intervals, and bare costs."""
    lines: list[str] = []
    for pair, result in results.items():
        lines += [f"## {pair}", ""]
        for group, rows in result["groups"].items():
            lines += [f"**{GROUPS[group]}**: measured minus predicted mean", ""]
            lines += [*_residuals(rows, result["outputs"]), ""]
            lines += [f"**{GROUPS[group]}**: worse than {ours} by", ""]
            lines += [*_differences(rows, result["outputs"]), ""]
        lines += ["**Cost** of a random split, as it was measured", ""]
        lines += [*_bare_costs(result["costs"]), ""]
    return "\n".join(lines)


def _residuals(rows: dict[str, Any], names: list[str]) -> list[str]:
    kinds = {"rmse": "rmse", "robust_sigma": "robust sigma", "bias": "bias"}
    lines = _head(["method", *(f"{title} {n}" for n in names for title in kinds.values())])
    for label, row in rows.items():
        lines.append(
            _row([label, *(f"{row['outputs'][n][kind]:.3g}" for n in names for kind in kinds)])
        )
    return lines


def _differences(rows: dict[str, Any], names: list[str]) -> list[str]:
    """Return differences with their 95 % intervals: NLL as it is, the others in per cent."""
    keys = {"nll": 1.0, "energy": 100.0, **{f"crps {n}": 100.0 for n in names}}
    titles = ["NLL", "energy %", *(f"CRPS {n} %" for n in names)]
    lines = _head(["method", *titles])
    for label, row in rows.items():
        if "against_ours" not in row:
            continue
        cells = []
        for key, unit in keys.items():
            each = [unit * row["against_ours"][key][part] for part in ("mean", "low", "high")]
            digits = 3 if unit == 1.0 else 1
            mean, low, high = (f"{value:.{digits}f}" for value in each)
            cells.append(f"{mean} ({low} to {high})")
        lines.append(_row([label, *cells]))
    return lines


def _bare_costs(costs: dict[str, Any]) -> list[str]:
    titles = {
        "fit_cpu": "fit: CPU s",
        "fit_wall": "fit: wall s",
        "predict_cpu": "predict: CPU s",
        "predict_wall": "predict: wall s",
        "effective": "effective draws",
    }
    lines = _head(["method", *titles.values(), "effective draws per CPU s of the fit"])
    for method, cost in costs.items():
        values = [cost.get(name, float("nan")) for name in titles]
        values.append(cost.get("effective", float("nan")) / cost.get("fit_cpu", float("nan")))
        texts = (f"{value:.3g}" for value in values)
        lines.append(_row([method, *("-" if t == "nan" else t for t in texts)]))
    return lines


def _at_a_glance(results: dict[str, Any], ours: str) -> list[str]:
    """Return ours beside whichever rival is best in each score, of each pair's random stars."""
    titles = ["pair", "stars", "NLL", "best rival's", "energy: best rival worse by %"]
    titles += ["CRPS: best rival worse by %", "coverage off at most %", "best rival's"]
    lines = _head([*titles, "sparsest fifth: NLL", "best rival's"])
    for pair, result in results.items():
        own, rivals = _apart(result["groups"]["random"], ours)
        few, there = _apart(result["groups"]["sparse"], ours)
        crps = (f"{n} {_nearest(rivals, f'crps {n}')}" for n in result["outputs"])
        off, label = min((off_most(row), label) for label, row in rivals.items())
        cells = [pair, str(own["n"]), f"{own['nll']:.3f}", _lowest(rivals)]
        cells += [_nearest(rivals, "energy"), ", ".join(crps)]
        cells += [f"{100 * off_most(own):.1f}", f"{100 * off:.1f} ({label})"]
        lines.append(_row([*cells, f"{few['nll']:.3f}", _lowest(there)]))
    return lines


def _apart(rows: dict[str, Any], ours: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return our row, and those of all methods that are not of our package."""
    package = ours.split()[0]
    return rows[ours], {k: row for k, row in rows.items() if k.split()[0] != package}


def _lowest(rivals: dict[str, Any]) -> str:
    nll, label = min((row["nll"], label) for label, row in rivals.items())
    return f"{nll:.3f}{_sign(rivals[label]['against_ours'], 'nll')} ({label})"


def _nearest(rivals: dict[str, Any], key: str) -> str:
    best = min((r["against_ours"] for r in rivals.values()), key=lambda found: found[key]["mean"])
    return f"{100 * best[key]['mean']:+.1f}{_sign(best, key)}"


def plain(value: Any) -> Any:
    """Return numbers ready for JSON, which knows no NaN."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and np.isnan(value) else value


def with_nan(value: Any) -> Any:
    """Return what `plain` was given."""
    if isinstance(value, dict):
        return {key: with_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [with_nan(item) for item in value]
    return float("nan") if value is None else value


def _scores(rows: dict[str, Any], names: list[str], ours: str) -> list[str]:
    titles = ["method", "NLL", "energy", *(f"CRPS {n}" for n in names)]
    titles += [f"in {100 * v:.0f} %" for v in LEVELS] + ["off by %", "at most %"]
    lines = _head(titles)
    keys = ["nll", "energy", *(f"crps {n}" for n in names)]
    for label, row in rows.items():
        values = [row["nll"], row["energy"], *(row["outputs"][n]["crps"] for n in names)]
        texts = [f"{values[0]:.3f}", *(f"{v:.4g}" for v in values[1:])]
        against = row.get("against_ours")
        cells = [t + _sign(against, k) for t, k in zip(texts, keys, strict=True)]
        shares = [
            np.mean([o["coverage"][f"{v:.2f}"] for o in row["outputs"].values()]) for v in LEVELS
        ]
        cells += [f"{100 * s:.1f}" for s in shares]
        cells += [f"{100 * off_by(row):.1f}", f"{100 * off_most(row):.1f}"]
        name = f"**{label}**" if label == ours else label
        lines.append(_row([name, *cells]))
    return lines


def _sign(against: dict[str, Any] | None, key: str) -> str:
    """Return a mark where a method is not surely worse than ours."""
    if against is None or against[key]["low"] > 0 or np.isnan(against[key]["mean"]):
        return ""
    return " ✗" if against[key]["high"] < 0 else " ≈"


def _costs(costs: dict[str, Any], ours: str) -> list[str]:
    """Return seconds over those of our fit, memory, and effective draws a second over ours.

    Of what was run before these were kept apart only the whole is known.
    """
    titles = ["CPU s", "fit: CPU s", "fit: wall s", "predict: CPU s", "predict: wall s"]
    titles += ["MiB", "predict: MiB"]
    lines = _head(["method", *titles, "effective draws per CPU s"])
    nan = float("nan")
    own = costs.get(ours, {})
    units = {"cpu": own.get("fit_cpu", own.get("cpu", nan)), "wall": own.get("fit_wall", nan)}
    for method, cost in costs.items():
        names = ("cpu", "fit_cpu", "fit_wall", "predict_cpu", "predict_wall")
        cells = [f"{cost.get(n, nan) / units[n.split('_')[-1]]:.2g}" for n in names]
        both = max(cost.get(name, nan) for name in ("fit_MiB", "predict_MiB"))
        cells += [f"{cost.get('peak_MiB', both):.0f}", f"{cost.get('predict_MiB', nan):.0f}"]
        rate, best = (c.get("effective", nan) / c.get("fit_cpu", nan) for c in (cost, own))
        cells.append(f"{rate / best:.2g}")
        lines.append(_row([method, *("-" if c == "nan" else c for c in cells)]))
    return lines


def _head(titles: list[str]) -> list[str]:
    return [_row(titles), _row(["---", *["---:"] * (len(titles) - 1)])]


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
