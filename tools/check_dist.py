"""Build wheel and sdist, look into them, install them, and run what was installed.

``python tools/check_dist.py [--out DIST] [--empty]``. By default the wheel goes into an
environment that borrows the libraries of this one, and says its version. With ``--empty`` wheel
and sdist each go into an empty environment, with their dependencies in the versions of
constraints.txt, and run a small demo there: that needs a package index and some minutes.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

#: What the sdist must hold, so that tests, docs and examples can be had from it.
IN_SDIST = (
    *("LICENSE", "README.md", "CHANGELOG.md", "CITATION.cff", "SECURITY.md", "Makefile"),
    *(
        "constraints.txt",
        "pyproject.toml",
        "tests/conftest.py",
        "tests/data/vizier_apogee_dr17.vot",
    ),
    *("docs/conf.py", "docs/index.md", "docs/pictures/residuals.png", "examples/job_array.py"),
    *("benchmarks/sbc.py", "tools/make-venv.sh", "bayestrans/py.typed", ".ci/run"),
)

#: Bytes that are certainly too many: something has been packed that should not be.
MOST = {".whl": 1_000_000, ".gz": 8_000_000}


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    """Run a program and return what it says; stop with that where it fails."""
    done = subprocess.run([str(c) for c in command], cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def build(out: Path) -> tuple[Path, Path]:
    """Return wheel and sdist, built without a network."""
    out.mkdir(parents=True, exist_ok=True)
    for old in (*out.glob("bayestrans-*.whl"), *out.glob("bayestrans-*.tar.gz")):
        old.unlink()
    run(sys.executable, "-m", "hatchling", "build", "-d", out)
    (wheel,), (sdist,) = out.glob("*.whl"), out.glob("*.tar.gz")
    return wheel, sdist


def check_wheel(wheel: Path) -> str:
    """Check what the wheel holds and says of itself; return its version."""
    with zipfile.ZipFile(wheel) as file:
        names = file.namelist()
        (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        said = file.read(metadata).decode()
    info = metadata.split("/")[0]
    assert {name.split("/")[0] for name in names} == {"bayestrans", info}, "more than the package"
    modules = {path.name for path in (ROOT / "bayestrans").glob("*.py")}
    packed = {name.split("/")[1] for name in names if name.startswith("bayestrans/")}
    assert packed == modules | {"py.typed"}, packed ^ modules
    assert f"{info}/licenses/LICENSE" in names, "no licence"
    for line in ("License-Expression: BSD-3-Clause", "Requires-Python: >=3.12"):
        assert line in said, f"METADATA lacks {line}"
    version = re.search(r"^Version: (.+)$", said, re.MULTILINE)
    written = re.search(r'__version__ = "(.+)"', (ROOT / "bayestrans/version.py").read_text())
    assert version, "METADATA has no version"
    assert written, "the package has no version"
    assert version[1] == written[1], "the version is of another place"
    return version[1]


def check_sdist(sdist: Path) -> None:
    """Check that the sdist holds what it should, and nothing that was made."""
    with tarfile.open(sdist) as file:
        names = {member.name.partition("/")[2] for member in file.getmembers()}
    missing = [name for name in IN_SDIST if name not in names]
    assert not missing, f"the sdist lacks {missing}"
    made = [
        name for name in names if re.search(r"(^|/)(\.venv|demo|dist|_build|__pycache__)/", name)
    ]
    assert not made, f"the sdist holds {made[:5]}"


def environment(folder: Path, *, borrow: bool) -> Path:
    """Return the Python of a new environment; one that borrows sees this one's libraries."""
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    if borrow:
        site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
        (Path(site) / "borrowed.pth").write_text(sysconfig.get_path("purelib"), "utf-8")
    return python


def check_installed(python: Path, version: str, folder: Path) -> None:
    """Check that what runs is what was installed."""
    say = "import bayestrans; print(bayestrans.__file__)"
    found = Path(run(python, "-I", "-c", say, cwd=folder).strip())
    assert python.parents[1].resolve() in found.resolve().parents, f"{found} is not in {python}"
    script = python.parent / ("bayestrans.exe" if sys.platform == "win32" else "bayestrans")
    assert run(script, "--version", cwd=folder).strip() == f"bayestrans {version}"
    assert "galah-dr3" in run(script, "surveys", cwd=folder)


def check_demo(python: Path, folder: Path) -> None:
    """Run a small demo."""
    script = python.parent / ("bayestrans.exe" if sys.platform == "win32" else "bayestrans")
    settings = ("--stars", "400", "--steps", "500", "--quiet", "--out", folder / "demo")
    run(script, "demo", *settings, cwd=folder)
    left = {path.name for path in (folder / "demo").iterdir()}
    wanted = {"model.nc", "catalogue.parquet", "catalogue.fits", "scores.json", "report.html"}
    assert wanted <= left, f"the demo left {sorted(left)}"


def main() -> None:
    """Do all of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="folder (default: dist)")
    parser.add_argument("--empty", action="store_true", help="into empty environments, with demo")
    options = parser.parse_args()
    wheel, sdist = build(options.out.resolve())
    for path in (wheel, sdist):
        size = path.stat().st_size
        assert size < MOST[path.suffix], f"{path.name} has {size} bytes"
        print(f"{path.name}: {size / 1e6:.2f} MB")
    version = check_wheel(wheel)
    check_sdist(sdist)
    for path in (wheel, sdist) if options.empty else (wheel,):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            python = environment(folder / "env", borrow=not options.empty)
            more = ["-c", ROOT / "constraints.txt"] if options.empty else ["--no-deps"]
            run(python, "-m", "pip", "install", "-q", *more, path)
            check_installed(python, version, folder)
            if options.empty:
                check_demo(python, folder)
        print(f"{path.name}: installed and run, {'with demo' if options.empty else 'version only'}")


if __name__ == "__main__":
    main()
