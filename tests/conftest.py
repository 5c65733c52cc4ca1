"""What every test shares."""

from __future__ import annotations

import os
import signal
import tempfile
from importlib.metadata import version
from pathlib import Path

import filelock
import hypothesis
import jax
import matplotlib
import pytest
from command_line import TINY, Folder
from model_files import tree

import bayestrans as bt
from bayestrans import cli, report_sections, store

REAL_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"

# Where tests run in the background of a script, Ctrl-C is ignored, and in what they start too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

matplotlib.use("Agg")
# Many tests fit networks of the same shapes; compiling again would be most of their time.
# Processes that run tests beside one another share what they compiled.
if "BAYESTRANS_TESTS_COMPILED" not in os.environ:
    COMPILED = tempfile.TemporaryDirectory(prefix="bayestrans-tests-")
    os.environ["BAYESTRANS_TESTS_COMPILED"] = COMPILED.name
# In the environment, so that programs that tests start share them too.
os.environ["JAX_COMPILATION_CACHE_DIR"] = os.environ["BAYESTRANS_TESTS_COMPILED"]
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
jax.config.update("jax_compilation_cache_dir", os.environ["BAYESTRANS_TESTS_COMPILED"])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
# jax_numpy_rank_promotion stays off: the package multiplies (draws, K) by (K,) on purpose.
# The first example of a property pays for the compilation.
hypothesis.settings.register_profile("bayestrans", deadline=None, derandomize=True)
hypothesis.settings.load_profile("bayestrans")


def pytest_report_header() -> str:
    libraries = ("numpyro", "jax", "arviz", "blackjax", "numpy")
    return ", ".join(f"{name} {version(name)}" for name in libraries)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Return the folder of the real catalogues."""
    if not REAL_DATA.is_dir():
        pytest.skip(
            "needs the real catalogues in ../shared/data, which are not part of the repository"
        )
    return REAL_DATA


@pytest.fixture(scope="session")
def survey() -> bt.SurveyPair:
    """Return a small simulated survey pair with known truth."""
    return bt.simulate(700, 1500, seed=3)


@pytest.fixture(scope="session")
def split(survey: bt.SurveyPair) -> tuple[bt.Pairs, bt.Pairs]:
    """Return its training and test stars."""
    return survey.pairs.split(0.3, seed=1)


@pytest.fixture(scope="session")
def posterior(
    split: tuple[bt.Pairs, bt.Pairs], tmp_path_factory: pytest.TempPathFactory, worker_id: str
) -> bt.Posterior:
    """Return a small model of the intrinsic outputs and of the velocity."""
    train, _ = split

    def fitted() -> bt.Posterior:
        method = bt.MCLMC(chains=4, draws=50, steps=500, warm_steps=500)
        options = {"network": bt.Network((8, 8)), "calibrate": False, "progress": False}
        return bt.fit(train, method=method, seed=4, **options)

    if worker_id == "master":
        return fitted()
    # Processes that run tests beside one another share it: the first of them fits it.
    path = tmp_path_factory.getbasetemp().parent / "posterior.nc"
    with filelock.FileLock(f"{path}.lock"):
        if path.exists():
            return bt.load(path)
        model = fitted()
        model.save(path)
    return model


@pytest.fixture(scope="session")
def given(tmp_path_factory: pytest.TempPathFactory, survey: bt.SurveyPair) -> Folder:
    """Return files as a user of the command line has them; not to be changed."""
    return Folder(tmp_path_factory.mktemp("given"), survey)


@pytest.fixture(scope="session")
def model(given: Folder) -> str:
    """Return the model that the command line fits."""
    out = given["model.nc"]
    arguments = ["fit", given["train.csv"], "--spec", given["spec.toml"], "--out", out]
    assert cli.main([*arguments, "--seed", "6", *TINY]) == 0
    return out


@pytest.fixture(scope="session")
def saved(posterior: bt.Posterior, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file of a fitted model; not to be changed."""
    path = tmp_path_factory.mktemp("model") / "model.nc"
    posterior.save(path)
    return path


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Return the file of the small tree."""
    path = tmp_path / "small.nc"
    store.write(tree(), path, overwrite=False)
    return path


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out a report's sections, whose pictures take most of the time."""
    monkeypatch.setattr(report_sections, "SECTIONS", ())
