"""Fit a small simulated pair, leave its diagnosis as a file, and go on with ArviZ alone.

``python examples/go_on_with_arviz.py [FOLDER]`` leaves ``diagnosis.nc`` and a picture.
"""

import sys
import warnings
from pathlib import Path

import arviz as az
import matplotlib
from astropy.table import Table

import bayestrans as bt
from bayestrans.simulate import to_columns

matplotlib.use("Agg")
folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")

# 1. Fit one output. Short and small, so that it runs in seconds.
survey = bt.simulate(n_common=500, n_catalogue=10, seed=5)
inputs = tuple(item for item in survey.spec.inputs if item.name in ("teff", "logg", "fe_h"))
outputs = tuple(item for item in survey.spec.outputs if item.name == "fe_h")
spec = bt.Spec("one output", inputs, outputs, id=survey.spec.id)
train, test = bt.read_pairs(Table(to_columns(survey)), spec).split(0.2, seed=1)
method = bt.MCLMC(draws=100, steps=1000, warm_steps=300)
post = bt.fit(
    train, method=method, network=bt.Network((8,)), calibrate=False, seed=2, progress=False
)

# 2. The verdict in words; everything that it was found from goes into one file.
diagnosis = bt.diagnose(post, held_out=test)
print(diagnosis)
diagnosis.save(folder / "diagnosis.nc", overwrite=True)

# 3. From here on ArviZ is enough; the model is not needed.
tree = az.from_netcdf(folder / "diagnosis.nc")

# R-hat and effective draws of the predictions at the first probe stars.
few = {"var_names": ["fe_h"], "coords": {"probe": [0, 1, 2]}}
print(az.summary(tree, kind="diagnostics", **few))

# Leave each star out in turn. ArviZ warns where single stars cannot be left out well.
with warnings.catch_warnings():
    warnings.simplefilter("ignore", UserWarning)
    print(az.loo(tree, var_name="intrinsic"))

# What the model would give beside what survey B measured, of held-out stars.
picture = az.plot_ppc_dist(tree["held_out"], var_names=["fe_h"], kind="ecdf")
picture.savefig(folder / "replicates.png")
tree.close()
