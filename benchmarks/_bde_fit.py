"""Fit one output with sklearn-contrib-bde, in an environment of its own.

``PYTHON _bde_fit.py IN.npz OUT.npz``: its pins of other libraries are not ours. IN has
``z``, ``target``, ``at`` and ``seed``; OUT gets ``location`` and ``scale`` (draw, star)
of the members whose chains have not run off to infinity, the number of those, and what the
prediction has taken.
"""

import os
import sys
import time

MEMBERS = 8
os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={MEMBERS}"

import _cost  # noqa: E402
import numpy as np  # noqa: E402 - the flag must stand before the import of JAX
from bde import BdeRegressor  # noqa: E402
from bde.loss import GaussianNLL  # noqa: E402

source, result = sys.argv[1:]
given = np.load(source)
# As in its own example.
model = BdeRegressor(
    hidden_layers=[16, 16],
    n_members=MEMBERS,
    seed=int(given["seed"]),
    loss=GaussianNLL(),
    epochs=200,
    validation_split=0.15,
    lr=1e-3,
    weight_decay=1e-4,
    warmup_steps=5000,
    n_samples=2000,
    n_thinning=2,
    patience=10,
)
model.fit(given["z"].astype(np.float32), given["target"].astype(np.float32))
fit_peak, begun, cpu = _cost.peak(), time.perf_counter(), time.process_time()
_cost.forget_peak()
raw = np.asarray(model.predict(given["at"].astype(np.float32), raw=True))
location, scale = np.moveaxis(raw.reshape(-1, *raw.shape[2:]), -1, 0)
scale = np.logaddexp(0, scale) + 1e-6
whole = (np.isfinite(location) & np.isfinite(scale)).all(axis=1)
chains = int(whole.reshape(MEMBERS, -1).all(axis=1).sum())
spent = (time.perf_counter() - begun, time.process_time() - cpu, fit_peak, _cost.peak())
np.savez(result, location=location[whole], scale=scale[whole], chains=chains, spent=spent)
