"""Translate one spectroscopic survey's parameters into another's base.

From the stars that two surveys share, learn a Bayesian neural network that
turns survey A's parameters into survey B's, and give every star a calibrated
joint posterior.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from .version import __version__ as __version__

if TYPE_CHECKING:
    from .attribution import Importance
    from .catalogue import CatalogueError, read_pairs
    from .clean import Cleaned, clean
    from .consistency import chain, round_trip
    from .diagnose import Diagnosis, diagnose
    from .evaluate import TrainingStarsWarning, evaluate
    from .fetch import fetch
    from .galaxy import Galaxy, simulate_galaxy
    from .homogenise import homogenise
    from .importance import importance
    from .infer import fit
    from .load import load
    from .maps import Asymmetry, GalacticMap, asymmetry, binned_map
    from .match import Match, MatchWarning, pair
    from .mclmc import MCLMC
    from .model import Noise
    from .network import Network
    from .pairs import Pairs, PairsError
    from .places import Places, draw_distances, galactocentric
    from .plan import Member, Plan, PlanError, PlanWarning
    from .posterior import Posterior, predict
    from .presets import survey
    from .report import report
    from .sample import NUTS, SVI, Ensemble, SamplingWarning
    from .scores import Evaluation
    from .simulate import SurveyPair, simulate
    from .spec import Input, Output, Spec, SpecError
    from .store import ModelFileError
    from .support import Support, support
    from .surveys import Cut, Quantity, Survey, SurveyError
    from .translate import translate, translate_file
    from .ways import Consistency
    from .written import Written

__all__ = [
    "MCLMC",
    "NUTS",
    "SVI",
    "Asymmetry",
    "CatalogueError",
    "Cleaned",
    "Consistency",
    "Cut",
    "Diagnosis",
    "Ensemble",
    "Evaluation",
    "GalacticMap",
    "Galaxy",
    "Importance",
    "Input",
    "Match",
    "MatchWarning",
    "Member",
    "ModelFileError",
    "Network",
    "Noise",
    "Output",
    "Pairs",
    "PairsError",
    "Places",
    "Plan",
    "PlanError",
    "PlanWarning",
    "Posterior",
    "Quantity",
    "SamplingWarning",
    "Spec",
    "SpecError",
    "Support",
    "Survey",
    "SurveyError",
    "SurveyPair",
    "TrainingStarsWarning",
    "Written",
    "asymmetry",
    "binned_map",
    "chain",
    "clean",
    "diagnose",
    "draw_distances",
    "evaluate",
    "fetch",
    "fit",
    "galactocentric",
    "homogenise",
    "importance",
    "load",
    "pair",
    "predict",
    "read_pairs",
    "report",
    "round_trip",
    "simulate",
    "simulate_galaxy",
    "support",
    "survey",
    "translate",
    "translate_file",
]

#: Where the names come from: each is imported when it is first used, because the libraries
#: beneath take seconds.
_HOMES = {
    name: module
    for module, names in {
        "attribution": "Importance",
        "catalogue": "CatalogueError read_pairs",
        "clean": "Cleaned clean",
        "consistency": "chain round_trip",
        "diagnose": "Diagnosis diagnose",
        "evaluate": "TrainingStarsWarning evaluate",
        "scores": "Evaluation",
        "fetch": "fetch",
        "galaxy": "Galaxy simulate_galaxy",
        "homogenise": "homogenise",
        "importance": "importance",
        "infer": "fit",
        "load": "load",
        "maps": "Asymmetry GalacticMap asymmetry binned_map",
        "match": "Match MatchWarning pair",
        "mclmc": "MCLMC",
        "model": "Noise",
        "network": "Network",
        "pairs": "Pairs PairsError",
        "places": "Places draw_distances galactocentric",
        "plan": "Member Plan PlanError PlanWarning",
        "posterior": "Posterior predict",
        "presets": "survey",
        "report": "report",
        "sample": "NUTS SVI Ensemble SamplingWarning",
        "simulate": "SurveyPair simulate",
        "spec": "Input Output Spec SpecError",
        "store": "ModelFileError",
        "support": "Support support",
        "surveys": "Cut Quantity Survey SurveyError",
        "translate": "translate translate_file",
        "ways": "Consistency",
        "written": "Written",
    }.items()
    for name in names.split()
}


class _Package(ModuleType):
    """The package; a verb that is called like its module is the verb, not the module."""

    def __getattr__(self, name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
        setattr(self, name, value)
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, ModuleType) and name in _HOMES:
            value = getattr(value, name)
        super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *__all__})


sys.modules[__name__].__class__ = _Package
