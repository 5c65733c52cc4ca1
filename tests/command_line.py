"""What a user of the command line has: files, and what the API says of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy.table import Table

import bayestrans as bt
from bayestrans.simulate import to_columns
from bayestrans.tables import write_table

TINY = ["--method", "ensemble", "--chains", "2", "--hidden", "4", "--no-calibration", "--quiet"]


class Folder:
    """Files as a user has them, and what the API says of them."""

    def __init__(self, path: Path, survey: bt.SurveyPair) -> None:
        self.path = path
        inputs = tuple(item for item in survey.spec.inputs if item.name in ("teff", "logg"))
        self.spec = bt.Spec("tiny", inputs, survey.spec.outputs[:1], id="star_id")
        self.common = Table(to_columns(survey))
        self.train, self.test = bt.read_pairs(self.common, self.spec).split(0.3, seed=1)
        for name, pairs in (("train", self.train), ("test", self.test)):
            rows = np.isin(self.common["star_id"], pairs.ids)
            write_table(self.common[rows], path / f"{name}.csv")
        self.stars = Table(survey.catalogue)[:30]
        write_table(self.stars, path / "a.csv")
        (path / "spec.toml").write_text(self.spec.to_toml(), encoding="utf-8")
        method = bt.Ensemble(members=2)
        self.posterior = bt.fit(
            self.train,
            method=method,
            network=bt.Network((4,)),
            seed=6,
            progress=False,
            calibrate=False,
        )

    def __getitem__(self, name: str) -> str:
        return str(self.path / name)
