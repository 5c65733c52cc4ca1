"""Fit the translation to the common stars."""

from __future__ import annotations

import dataclasses
import logging
import time
import warnings
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import jax
import numpy as np

from .arguments import check_count
from .baseline import Baseline
from .calibrate import Learned, hold_out_regions
from .calibration import Calibration
from .gaps import Gaps
from .mclmc import MCLMC
from .model import Noise
from .neighbours import NEIGHBOURS, Neighbours
from .network import Network
from .pairs import Pairs, PairsError
from .posterior import BlockDraws, Posterior
from .progress import say
from .sample import Method, SamplingWarning
from .scale import Scaler
from .spec import Block, Input, Output, Spec
from .target import build_target, scaled_data
from .version import __version__

log = logging.getLogger("bayestrans")

#: Convergence is judged at this many training stars.
PROBES = 200

#: What a velocity along the line of sight is called, which no other quantity depends on.
VELOCITIES = ("rv", "vrad", "v_rad", "vlos", "v_los", "vhelio", "v_helio", "radial_velocity")

#: Fewer stars than this for each feature of a network, and not even its linear part is known.
STARS_PER_FEATURE = 5


def fit(
    pairs: Pairs,
    *,
    method: Method | None = None,
    network: Network | None = None,
    noise: Noise | None = None,
    calibrate: bool = True,
    seed: int = 0,
    progress: bool = True,
) -> Posterior:
    """Learn the translation from survey A to survey B.

    One network is fitted to all intrinsic outputs together and one to each
    extrinsic output; their posteriors are independent.

    Parameters
    ----------
    pairs : Pairs
        The training stars.
    method : MCLMC, NUTS, SVI or Ensemble
        How to draw from the posterior; by default ``MCLMC()``.
    network : Network
        By default two hidden layers of 32.
    noise : Noise
        What is known of the scatter; by default all of it is learned.
    calibrate : bool
        Refit cheaply without each of some twenty regions of the training stars,
        and learn from what happens there how far predictives must be
        stretched where stars are few, and where ``sparse`` and ``outside``
        begin. `NUTS`, the reference, is never calibrated.
    seed : int
        The same seed gives the same draws on the same machine.
    progress : bool
        Show what is being done and the time left.

    Returns
    -------
    Posterior

    Raises
    ------
    PairsError
        For too few stars, or a constant column.
    TypeError
        For a table in place of `Pairs`, or the name of a sampler in place of one.

    Notes
    -----
    The model and its priors are described in ``docs/model.md``.
    """
    method, network, noise = method or MCLMC(), network or Network(), noise or Noise()
    sampler = not isinstance(method, type) and callable(getattr(method, "run", None))
    if not isinstance(pairs, Pairs) or not sampler:
        what = f"pairs is a {type(pairs).__name__} and method a {type(method).__name__}"
        raise TypeError(f"{what}; give what read_pairs returns, and a sampler such as MCLMC()")
    seed = check_count("seed", seed, 0)
    if noise.scatter is not None and len(noise.scatter) != len(pairs.spec.outputs):
        raise ValueError(
            f"noise.scatter has {len(noise.scatter)} values for {len(pairs.spec.outputs)} outputs"
        )
    _check_count(pairs)
    _say_velocities(pairs.spec)
    scaler = Scaler.learn(pairs)
    gaps = Gaps.learn(scaler, pairs)
    if progress:
        say(_announced(pairs.spec, method, calibrate=calibrate))
    begun = time.perf_counter()
    keys = jax.random.split(jax.random.key(seed), len(pairs.spec.blocks))
    blocks = tuple(
        _fit_block(pairs, gaps, block, method, network, noise, key, progress=progress)
        for block, key in zip(pairs.spec.blocks, keys, strict=True)
    )
    probes = _probes(len(pairs))
    complete = gaps.filled(pairs)
    fitted = Posterior(
        pairs.spec,
        network,
        noise,
        scaler,
        blocks,
        gaps.density,
        Neighbours.learn(complete.x, pairs.spec.blocks[0].inputs),
        Calibration.identity(len(pairs.spec.outputs)),
        Baseline.learn(complete, scaler),
        complete.x[probes],
        complete.x_err[probes],
        *_probe_outputs(pairs.take(probes), gaps),
        {},
    )
    refit = method.refit() if calibrate else None
    learned = None
    if refit is not None:
        key = jax.random.fold_in(jax.random.key(seed), 1)
        learned = hold_out_regions(fitted, pairs, refit, key, progress=progress)
    record = _record(pairs, method, seed, time.perf_counter() - begun)
    return _calibrated(fitted, record, learned)


def _calibrated(fitted: Posterior, record: dict[str, Any], learned: Learned | None) -> Posterior:
    """Return the model with its provenance and what the held-out regions taught, if any were."""
    if learned is None:
        return dataclasses.replace(fitted, record=record)
    record["held_out_regions"] = learned.report
    thresholds = np.array(learned.thresholds)
    neighbours = dataclasses.replace(fitted.neighbours, thresholds=thresholds)
    calibration = learned.calibration
    return dataclasses.replace(
        fitted, neighbours=neighbours, calibration=calibration, record=record
    )


def _fit_block(
    pairs: Pairs,
    gaps: Gaps,
    block: Block,
    method: Method,
    network: Network,
    noise: Noise,
    key: jax.Array,
    *,
    progress: bool,
) -> BlockDraws:
    data = scaled_data(pairs, gaps.scaler, block, noise, gaps)
    target = build_target(data, network, noise, _probes(data.z.shape[1]), gaps.kinds(block))
    run = method.run(target, key, label=block.name, progress=progress)
    if run.tuning.get("ended") in ("max_steps", "time_budget"):
        warnings.warn(
            f"the {block.name} network stopped by its {run.tuning['ended']} with R-hat "
            f"{run.tuning['rhat_90']:.2f}; see diagnose",
            SamplingWarning,
            stacklevel=4,
        )
    flat = run.positions.reshape(-1, target.dim)
    lead = run.positions.shape[:2]
    draws = target.draws(flat)
    named = {
        name: np.asarray(value).reshape(*lead, *value.shape[1:]) for name, value in draws.items()
    }
    for name, value in named.items():
        if not np.isfinite(value).all():
            raise FloatingPointError(
                f"the {block.name} network has draws of {name} that are not finite; "
                "look for outlying inputs, or use float64 (JAX_ENABLE_X64=1)"
            )
    return BlockDraws(block, named, run.stats, run.tuning)


def _probes(count: int) -> np.ndarray:
    """Return evenly spaced positions: the same stars for the same table."""
    return np.unique(np.linspace(0, count - 1, min(PROBES, count)).astype(int))


def _probe_outputs(pairs: Pairs, gaps: Gaps) -> tuple[np.ndarray, np.ndarray]:
    """Return what B measured of probe stars, and its errors (P, K).

    NaN for a star that the networks did not see as `Gaps.filled` gives it, because
    its likelihood was an integral over what it lacks.
    """
    inputs = tuple(range(pairs.x.shape[1]))
    filled = gaps.filled(pairs)
    seen, given = (gaps.seen(p.x, p.x_err, inputs) for p in (pairs, filled))
    same = (np.abs(seen - given) < 1e-9).all(axis=1)[:, None]  # False where NaN
    return np.where(same, pairs.y, np.nan), np.where(same, pairs.y_err, np.nan)


def _announced(spec: Spec, method: Method, *, calibrate: bool) -> str:
    """Say what is about to be done, which can take long."""
    networks = [", ".join(spec.output_names[k] for k in block.outputs) for block in spec.blocks]
    some = f"{len(networks)} networks, one after the other" if len(networks) > 1 else "one network"
    told = f"learning {some} ({'; '.join(networks)})"
    if isinstance(method, MCLMC) and method.steps is None:
        told += f", each until its chains agree, for {method.time_budget:g} s at most"
    if calibrate and method.refit() is not None:
        told += "; then some twenty short refits of each for the calibration"
    return told


def _say_velocities(spec: Spec) -> None:
    """Say where a velocity shares a network with what it has nothing to do with."""
    items: tuple[Input | Output, ...] = (*spec.inputs, *spec.outputs)
    names = {item.name for item in items if item.name.lower() in VELOCITIES and not item.extrinsic}
    for name in sorted(names) if len({item.name for item in items}) > 1 else ():
        log.warning(
            f"{name} looks like the star's velocity and shares a network with the others; write "
            "extrinsic = true in its [input] and [output]"
        )


def _check_count(pairs: Pairs) -> None:
    for block in pairs.spec.blocks:
        features = sum(1 + (pairs.spec.inputs[j].error is not None) for j in block.inputs)
        needed = max(STARS_PER_FEATURE * features, 2 * NEIGHBOURS)
        found = int(pairs.seen[:, list(block.outputs)].any(axis=1).sum())
        if found < needed:
            raise PairsError(
                f"{found} training stars for the {block.name} outputs; at least {needed} are "
                f"needed ({STARS_PER_FEATURE} for each of its {features} features): "
                "find more common stars or use fewer inputs"
            )
        for k in block.outputs:
            if (seen := int(pairs.seen[:, k].sum())) < needed:
                name = pairs.spec.outputs[k].name
                log.warning(
                    f"{name} is known of {seen} training stars only, of which {needed} would be "
                    f"needed for it alone: what is said of it rests mostly on the prior and on "
                    "the outputs that go with it"
                )


def _record(pairs: Pairs, method: Method, seed: int, seconds: float) -> dict[str, Any]:
    others = ("numpyro", "jax", "blackjax", "numpy", "arviz")
    return {
        "stars": len(pairs),
        "missing_inputs": int(np.isnan(pairs.x).sum()),
        "units_assumed": dict(pairs.assumed),
        "method": repr(method),
        "seed": seed,
        "fit_seconds": round(seconds, 1),
        "backend": jax.default_backend(),
        "precision": "float64" if jax.config.jax_enable_x64 else "float32",
        "versions": {"bayestrans": __version__, **{name: version(name) for name in others}},
        "utc": datetime.now(UTC).isoformat(timespec="seconds"),
    }
