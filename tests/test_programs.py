"""Compiled programs ask every device for products in full precision."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from bayestrans import programs
from bayestrans.programs import compiled, computed_once


def product(left: jax.Array, right: jax.Array, *, turned: bool = False) -> jax.Array:
    return left @ (right.T if turned else right)


def test_products_are_asked_for_in_full_precision():
    square = jnp.eye(3)
    told = compiled(product).lower(square, square).as_text()
    assert told.count("precision = [HIGHEST, HIGHEST]") == 1
    assert "HIGHEST" not in jax.jit(product).lower(square, square).as_text()


def test_gradients_too_and_the_users_own_programs_are_left_alone():
    slope = compiled(jax.grad(lambda a, b: product(a, b).sum()))
    square = jnp.eye(3)
    before = jax.config.jax_default_matmul_precision
    told = slope.lower(square, square).as_text()
    assert told.count("dot_general") == told.count("precision = [HIGHEST, HIGHEST]") > 0
    assert jax.config.jax_default_matmul_precision == before


def test_options_are_those_of_jit_and_products_agree_with_double_precision():
    rng = np.random.default_rng(0)
    left, right = (rng.normal(size=(64, 64)) for _ in range(2))
    found = compiled(product, static_argnames="turned")(
        jnp.asarray(left, jnp.float32), jnp.asarray(right, jnp.float32), turned=True
    )
    expected = left @ right.T
    assert np.linalg.norm(found - expected) < 1e-6 * np.linalg.norm(expected)


def test_no_module_compiles_by_itself():
    """On a processor nothing would show it."""
    package = Path(programs.__file__).parent
    found = [path.name for path in package.glob("*.py") if "jax.jit" in path.read_text("utf-8")]
    assert found == ["programs.py"]


def test_what_is_computed_once_is_what_it_was_in_every_transformation():
    def lengths(kept):
        def length(x):
            one, two = kept((jnp.sin(x), jnp.exp(x)))
            return (one**2 + two).sum()

        return length

    plain, once = lengths(lambda values: values), lengths(computed_once)
    x = jnp.linspace(-1.0, 1.0, 12).reshape(3, 4)
    for change in (lambda f: f, jax.grad, jax.hessian, lambda f: jax.vmap(jax.grad(f))):
        np.testing.assert_allclose(jax.jit(change(once))(x), change(plain)(x), rtol=1e-6)


def test_a_cpu_alone_is_told_to_compute_it_once(monkeypatch):
    def told():
        return jax.jit(lambda x: computed_once(jnp.sin(x)) + 1.0).lower(jnp.ones(3)).as_text()

    assert told().count("optimization_barrier") == 1
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert "optimization_barrier" not in told()
