"""Translate one simulated survey to another's scale, and hold it against the truth.

``python examples/translate_simulated.py [FOLDER]`` leaves a model and a catalogue.
"""

import sys
from pathlib import Path

import numpy as np
from astropy.table import Table

import bayestrans as bt

folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")

# 1. Two surveys with common stars. With real ones this line is
#    pairs = bt.read_pairs("pairs.fits", bt.Spec.from_toml("a_to_b.toml"))
survey = bt.simulate(n_common=500, n_catalogue=1000, seed=5)
train, test = survey.pairs.split(0.2, seed=1)  # by star, never by row

# 2. Fit. A short run with a small network, and without the refits that calibrate errors where
#    training stars are few: a first look. Leave all three out for the defaults.
quick = {"method": bt.MCLMC(draws=100, steps=1000), "network": bt.Network((16,))}
post = bt.fit(train, **quick, calibrate=False, seed=2, progress=False)
post.save(folder / "model.nc", overwrite=True)

# 3. Can the sampling be believed, and is the model better than plain translations?
print(bt.diagnose(post))
print(bt.evaluate(post, test))

# 4. Translate the rest of survey A.
out = folder / "catalogue.parquet"
catalogue = bt.translate(
    post, Table(survey.catalogue), out=out, overwrite=True, draws=20, progress=False
)
print(f"{np.mean(catalogue['support_class'] == 'dense'):.0%} of the stars lie among training stars")

# 5. Only because the surveys are simulated: how often is the true value within p16 to p84?
truth = survey.catalogue_truth["y"]
for k, name in enumerate(survey.spec.output_names):
    inside = (catalogue[f"{name}_p16"] <= truth[:, k]) & (truth[:, k] <= catalogue[f"{name}_p84"])
    print(f"{name:6s} {np.mean(inside):.1%} of the true values between p16 and p84")
