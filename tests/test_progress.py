"""How often a bar moves: for somebody who looks, and in the log of a batch job."""

from __future__ import annotations

import sys

import pytest

from bayestrans.progress import LOG, SCREEN, progress_bar


@pytest.mark.parametrize(("watched", "every"), [(True, SCREEN), (False, LOG)])
def test_a_bar_moves_rarely_where_nobody_looks(monkeypatch, watched, every):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: watched, raising=False)
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    with progress_bar("fit", 10, "step", progress=True) as bar:
        assert bar.mininterval == every
