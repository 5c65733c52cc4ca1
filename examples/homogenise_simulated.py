"""Merge two simulated surveys and their base into one catalogue, and hold it against the truth.

``python examples/homogenise_simulated.py [FOLDER]`` leaves the models, catalogues, the plan
and ``merged.parquet``.
"""

import sys
from pathlib import Path

import numpy as np
from astropy.table import Table, join, vstack

import bayestrans as bt
from bayestrans.simulate import to_columns

folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
NAMES, NOISE_C = ("teff", "logg"), (70.0, 0.10)

# 1. Three surveys of the same stars: A, the base B that has seen some of them, and C, which
#    measures each star's own values with an offset and noise.
survey = bt.simulate(n_common=600, n_catalogue=1400, seed=5)
common = Table(to_columns(survey))
a = vstack([common[list(survey.catalogue)], Table(survey.catalogue)])
base = common[["star_id", *(name for name in common.colnames if name.endswith("_b"))]]
own = np.concatenate([survey.truth["star"], survey.catalogue_truth["star"]])
truth = np.concatenate([survey.truth["y"], survey.catalogue_truth["y"]])
rng = np.random.default_rng(1)
c = Table({"star_id": a["star_id"]})
for k, (name, noise) in enumerate(zip(NAMES, NOISE_C, strict=True)):
    c[f"{name}_c"] = own[:, k] + 0.5 * noise + noise * rng.normal(size=len(own))
c = c[rng.random(len(c)) < 0.7]
for name, table in (("a", a), ("b", base), ("c", c)):
    table.write(folder / f"{name}.parquet", overwrite=True)

# 2. A model for each survey that is not on the base. Small, quick ones; leave the options out.
outputs = survey.spec.outputs[:2]
inputs_a = survey.spec.inputs[:3]
inputs_c = tuple(bt.Input(o.name, f"{o.name}_c", unit=o.unit) for o in outputs)
quick = {"method": bt.Ensemble(members=4), "network": bt.Network((4,)), "calibrate": False}
models = {}
for name, inputs, table in (("a", inputs_a, common), ("c", inputs_c, join(common, c))):
    spec = bt.Spec(f"{name.upper()} to B", inputs, outputs, id="star_id")
    models[name] = bt.fit(bt.read_pairs(table, spec), seed=2, progress=False, **quick)
    models[name].save(folder / f"{name}_to_b.nc", overwrite=True)

# 3. The plan, and the catalogue.
plan = """
name = "A and C on B's base"
base = "B"
id = "star_id"

[survey.a]
catalogue = "a.parquet"
model = "a_to_b.nc"

[survey.c]
catalogue = "c.parquet"
model = "c_to_b.nc"

[survey.b]
catalogue = "b.parquet"
"""
for output in outputs:
    plan += f'[survey.b.columns.{output.name}]\ncolumn = "{output.column}"\n'
    plan += f'error = "{output.error}"\nunit = "{output.unit}"\n'
(folder / "plan.toml").write_text(plan)
merged = bt.homogenise(
    folder / "plan.toml", folder / "merged.parquet", overwrite=True, progress=False
)

# 4. Only because the surveys are simulated: are the errors right, and smaller than before?
order = np.argsort(np.asarray(a["star_id"]))
truth = truth[order[np.searchsorted(np.asarray(a["star_id"])[order], merged["star_id"])]]
for kind in ("a", "a+c", "a+b", "a+b+c"):
    rows = np.array(merged["surveys"] == kind)
    print(f"{kind}: {rows.sum()} stars", end="")
    for k, output in enumerate(outputs):
        low, high = (merged[f"{output.name}_{part}"][rows] for part in ("p16", "p84"))
        inside = np.mean((low <= truth[rows, k]) & (truth[rows, k] <= high))
        half = np.median(high - low) / 2
        print(f"; {output.name} {half:.3g} ({inside:.0%} of the truth within)", end="")
    print()
print(f"the surveys disagree on {np.mean(merged['flags'] & 32 > 0):.1%} of all stars")
