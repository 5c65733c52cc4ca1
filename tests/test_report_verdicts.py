"""The verdicts of the page about a model: what is wrong comes first, and by its name."""

from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path

import numpy as np
import pytest
from reports import SPEC, model, stars, translated, verdicts

import bayestrans as bt


def judged(posterior: bt.Posterior, tmp_path: Path, pairs: bt.Pairs | None = None) -> list:
    """Return the verdicts of a report without pictures."""
    path = bt.report(posterior, tmp_path, pairs=pairs, overwrite=True)
    return verdicts(path.read_text(encoding="utf-8"))


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize(("factor", "fault"), [(0.6, "small"), (1.6, "large")])
def test_errors_of_the_wrong_size_are_warned_of(tmp_path, factor, fault):
    posterior = model(log_scatter=math.log(factor))
    found = judged(posterior, tmp_path, stars(SPEC, 400, seed=3))
    texts = [text for grade, text in found if grade == "warning" and "too " + fault in text]
    assert any(text.startswith("teff: 68 % intervals hold") for text in texts)
    assert any(text.startswith("logg: 68 % intervals hold") for text in texts)
    assert not any("right size" in text for _, text in found)


@pytest.mark.usefixtures("no_pictures")
def test_what_is_wrong_comes_before_what_is_good(tmp_path):
    posterior = model(apart=1.0, units_assumed={"teff_a": "K"}, held_out_regions=None)
    path = bt.report(posterior, tmp_path)
    text = path.read_text(encoding="utf-8")
    found = verdicts(text)
    assert found[0][0] == "warning"
    assert found[0][1].startswith("the diagnosis of the chains and of the fit")
    assert "do not use" in found[0][1]
    (mixing,) = [grade for grade, said in found if "intrinsic: R-hat of predictions is " in said]
    assert mixing == "warning"
    grades = [grade for grade, _ in found]
    assert grades == sorted(grades, key=["warning", "caution", "good"].index)
    assert ("teff_a K" in said for _, said in found)
    assert any(said.startswith("not calibrated where stars are few") for _, said in found)
    body = text[text.index("<body>") :]
    ahead = body[: body.index('<li class="warning">')]
    assert not re.search("<(img|table|figure|nav|h3)", ahead)
    assert "deal with them before using this model" in ahead


@pytest.mark.usefixtures("no_pictures")
def test_what_a_usable_model_lacks_is_a_caution(tmp_path):
    found = judged(model(apart=0.05), tmp_path)
    grades = {grade for grade, said in found if "R-hat of predictions is " in said}
    assert grades == {"caution"}
    assert any(said.endswith("its own stars: usable") for _, said in found)
    assert not any(grade == "warning" for grade, _ in found)


@pytest.mark.usefixtures("no_pictures")
def test_training_stars_given_as_held_out_are_found(tmp_path):
    posterior, fresh = model(), stars(SPEC, 400, seed=3)
    x = np.concatenate([stars(SPEC, 60, seed=1).x, fresh.x[60:]])
    mixed = dataclasses.replace(fresh, x=x)
    (warning,) = [
        text
        for grade, text in judged(posterior, tmp_path, mixed)
        if grade == "warning" and "exactly" in text
    ]
    assert warning.startswith("60 of 400 held-out stars have exactly the inputs of training stars")
    assert not any("exactly" in text for _, text in judged(posterior, tmp_path, fresh))


@pytest.mark.usefixtures("no_pictures")
def test_a_bias_and_a_model_worse_than_none_are_told(tmp_path):
    held_out = stars(SPEC, 400, seed=3)
    shifted = dataclasses.replace(held_out, y=held_out.y + np.array([90.0, 0.0]))
    found = judged(model(), tmp_path, shifted)
    (bias,) = [text for grade, text in found if grade == "caution" and "at the median" in text]
    assert re.match(r"teff: held-out stars are measured \+(8|9)\d K away", bias)
    worse = judged(model(log_scatter=math.log(3)), tmp_path, held_out)
    assert any(g == "warning" and t.startswith("no better than linear") for g, t in worse)


@pytest.mark.usefixtures("no_pictures")
def test_a_catalogue_beyond_the_training_stars_earns_a_caution(tmp_path):
    posterior = model()
    far = stars(SPEC, 50, seed=5)
    far = dataclasses.replace(far, x=far.x + np.array([4000.0, 6.0]))
    path = bt.report(posterior, tmp_path, catalogue=translated(posterior, far))
    found = verdicts(path.read_text(encoding="utf-8"))
    assert any(g == "caution" and t.startswith("50 of 50 stars of the cat") for g, t in found)
