"""Translate one spectroscopic survey's parameters into another's base.

From the stars that two surveys share, learn a Bayesian neural network that
turns survey A's parameters into survey B's, and give every star a calibrated
joint posterior.
"""

from .catalogue import CatalogueError, read_pairs
from .clean import Cleaned, clean
from .diagnose import Diagnosis, diagnose
from .evaluate import Evaluation, evaluate
from .fetch import fetch
from .infer import fit
from .load import load
from .match import Match, MatchWarning, pair
from .mclmc import MCLMC
from .model import Noise
from .network import Network
from .pairs import Pairs, PairsError
from .posterior import Posterior, predict
from .presets import survey
from .sample import NUTS, SVI, Ensemble, SamplingWarning
from .simulate import SurveyPair, simulate
from .spec import Input, Output, Spec, SpecError
from .store import ModelFileError
from .support import Support, support
from .surveys import Cut, Quantity, Survey, SurveyError
from .translate import Written, translate, translate_file

__version__ = "0.1.0"

__all__ = [
    "MCLMC",
    "NUTS",
    "SVI",
    "CatalogueError",
    "Cleaned",
    "Cut",
    "Diagnosis",
    "Ensemble",
    "Evaluation",
    "Input",
    "Match",
    "MatchWarning",
    "ModelFileError",
    "Network",
    "Noise",
    "Output",
    "Pairs",
    "PairsError",
    "Posterior",
    "Quantity",
    "SamplingWarning",
    "Spec",
    "SpecError",
    "Support",
    "Survey",
    "SurveyError",
    "SurveyPair",
    "Written",
    "clean",
    "diagnose",
    "evaluate",
    "fetch",
    "fit",
    "load",
    "pair",
    "predict",
    "read_pairs",
    "simulate",
    "support",
    "survey",
    "translate",
    "translate_file",
]
