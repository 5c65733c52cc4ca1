"""Change the package in small ways, one at a time, and see whether its fast tests notice.

``python tools/mutate.py model [TESTS ...] [--count 30] [--seed 0] [--pick NUMBER ...]``: in a copy
of the tree, once as it is and once with each change of a sample, as a run takes some 10 s.

Why no ready-made tool: mutmut 3 forks its workers, which JAX's threads do not survive; cosmic-ray
changes the working tree itself, and drops no keywords, calls or returns.
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from subprocess import DEVNULL, STDOUT, Popen, TimeoutExpired
from textwrap import shorten
from typing import Any

ROOT = Path(__file__).resolve().parents[1]

#: The fast tests that should see what is wrong with a module, as pytest is told of them.
TESTS = {
    "model": "tests/test_network.py tests/test_checks.py -k '_network.py or follow or laws'",
    "infer": "tests/test_infer.py tests/test_fit.py tests/test_calibration.py "
    "tests/test_calibration_fit.py "
    "-k 'test_infer or refused_with or per_network or length or Ensemble or fit_learns'",
    "calibrate": "tests/test_calibration.py tests/test_calibration_fit.py",
    "translate": "tests/test_stream.py tests/test_translate.py tests/test_translate_faults.py "
    "tests/test_bad_inputs.py -k "
    "'interrupted or counts or failure or hats or cores or existing or not_hold or be_the_input "
    "or parts_can_be_given'",
}

#: What each operator becomes: its opposite, and at a limit the other side of it.
SWAPS = """Lt-GtE Lt-LtE LtE-Gt LtE-Lt Gt-LtE Gt-GtE GtE-Lt GtE-Gt Eq-NotEq NotEq-Eq Is-IsNot
IsNot-Is In-NotIn NotIn-In Add-Sub Sub-Add Mult-Div Div-Mult Pow-Mult And-Or Or-And"""


def walk(node: ast.AST) -> Iterator[ast.AST]:
    """Yield all nodes but annotations, texts, errors raised, and `strict` (zip's assertion)."""
    if isinstance(node, ast.Raise | ast.JoinedStr) or getattr(node, "arg", "") == "strict":
        return
    yield node
    for name, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and name not in ("annotation", "returns"):
                yield from walk(child)


def changes(node: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """Yield what of a node is replaced, and by what."""
    match node:
        case ast.BinOp() | ast.BoolOp():
            yield from (_with(node, op=new) for new in _swaps(node.op))
        case ast.Compare():
            for place, old in enumerate(node.ops):
                before, after = node.ops[:place], node.ops[place + 1 :]
                yield from (_with(node, ops=[*before, new, *after]) for new in _swaps(old))
        case ast.Constant(value=bool(value)):
            yield node, str(not value)
        case ast.Constant(value=int(value)):
            yield node, str(value + 1)
        case ast.Constant(value=float(value)):
            yield node, str(2.0 * value or 1.0)
        case ast.UnaryOp(op=ast.Not()):
            yield node, ast.unparse(node.operand)
        case ast.keyword(arg=str()):
            yield node, "**{}"
        case ast.If() | ast.IfExp():
            yield from ((node.test, word) for word in ("True", "False"))
        case ast.Return(value=ast.AST()):
            yield node, "return None"
        case ast.Expr(value=ast.Call()):
            yield node, "pass"


def _swaps(old: ast.AST) -> list[ast.AST]:
    names = [pair.split("-") for pair in SWAPS.split()]
    return [getattr(ast, new)() for name, new in names if name == type(old).__name__]


def _with(node: ast.AST, **fields: object) -> tuple[ast.AST, str]:
    return node, ast.unparse(type(node)(**(vars(node) | fields)))


def mutants(source: bytes) -> list[tuple[int, str, bytes]]:
    """Return the line, the change and the whole source of each mutant of a module."""
    lines, found = source.splitlines(keepends=True), []
    for old, new in (pair for node in walk(ast.parse(source)) for pair in changes(node)):
        place: Any = old  # has one, as all nodes of these kinds
        begin = len(b"".join(lines[: place.lineno - 1])) + place.col_offset
        end = len(b"".join(lines[: place.end_lineno - 1])) + place.end_col_offset
        change = f"{shorten(ast.unparse(old), 90)}  ->  {shorten(new, 90)}"
        text = (f"({new})" if isinstance(old, ast.expr) else new).encode()
        found.append((place.lineno, change, source[:begin] + text + source[end:]))
    return found


def outcome(tests: list[str], tree: Path, limit: float | None = None) -> str:
    """Run the tests in a tree and say what became of it, within so many seconds."""
    # Without files of bytecode: their times are too rough to tell one mutant from the next.
    more = {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1", "MPLBACKEND": "Agg"}
    env = {"BAYESTRANS_TESTS_COMPILED": str(tree / "compiled"), **os.environ, **more}
    command = [sys.executable, "-m", "pytest", "-xq", "-pno:cacheprovider", "-mnot slow", *tests]
    run = Popen(command, cwd=tree, env=env, stdout=DEVNULL, stderr=STDOUT, start_new_session=True)
    try:
        return "killed" if run.wait(limit) else "survived"
    except TimeoutExpired:
        os.killpg(run.pid, signal.SIGKILL)  # with what the tests started
        return "too slow"


def main() -> None:
    """Try a sample of mutants."""
    parser = argparse.ArgumentParser(description=__doc__)
    modules = sorted(path.stem for path in (ROOT / "bayestrans").glob("*.py"))
    parser.add_argument("module", choices=modules)
    parser.add_argument("tests", nargs="*", help="files or tests (default: those of the table)")
    parser.add_argument("--count", type=int, default=30, help="mutants in the sample (default: 30)")
    parser.add_argument("--seed", type=int, default=0, help="of the sample (default: 0)")
    parser.add_argument("--pick", type=int, nargs="+", help="only these of the sample, by number")
    options = parser.parse_args()
    tests = options.tests or shlex.split(TESTS.get(options.module, "tests"))
    name = f"bayestrans/{options.module}.py"
    everything = mutants((ROOT / name).read_bytes())
    chosen = random.Random(options.seed).sample(everything, min(options.count, len(everything)))
    with tempfile.TemporaryDirectory() as folder:
        not_these = shutil.ignore_patterns(".git", ".venv*", "__pycache__")
        tree = shutil.copytree(ROOT, Path(folder) / "tree", ignore=not_these)
        begun = time.perf_counter()
        if outcome(tests, tree) != "survived":
            sys.exit(f"{' '.join(tests)} do not pass as they are")
        limit = 10.0 + 2.0 * (time.perf_counter() - begun)
        print(f"{name}: {len(chosen)} of {len(everything)} mutants, {limit:.0f} s each", flush=True)
        for number, (line, change, source) in enumerate(chosen):
            if number in (options.pick or [number]):
                (tree / name).write_bytes(source)
                word = outcome(tests, tree, limit)
                print(f"{word:8s} {number:3d}  {name}:{line}  {change}", flush=True)


if __name__ == "__main__":
    main()
