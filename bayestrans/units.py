"""Units as catalogues spell them."""

from __future__ import annotations

import re
from typing import Any

import astropy.units as u

from .layout import CatalogueError
from .toml import nearest

#: How units are spelled in the wild, in lower case without spaces.
SPELLINGS = {
    **dict.fromkeys(("k", "kelvin", "degk"), u.K),
    **dict.fromkeys(("km/s", "km/sec", "kms-1", "km/second"), u.km / u.s),
    **dict.fromkeys(("m/s", "m/sec", "ms-1", "m/second"), u.m / u.s),
    **dict.fromkeys(("", "dex", "[-]", "unitless", "dimensionless"), u.one),
    **dict.fromkeys(("log(cgs)", "dex(cgs)", "[cgs]", "logcm/s2", "logcms-2"), u.one),
}
#: What stands where there is no unit.
NO_UNIT = ("", "-", "--", "---", "none", "null", "n/a")
GRAVITY = u.cm / u.s**2


def read_unit(unit: Any, name: str) -> u.UnitBase:
    """Read a unit; dex, and the logarithm of anything, is a plain number."""
    text = str(unit).strip(" '\"")
    if text.lower().replace(" ", "") in SPELLINGS:
        return SPELLINGS[text.lower().replace(" ", "")]
    logarithm = re.fullmatch(r"(?:log|log10|dex)?[(\[](.*)[)\]]", text, re.IGNORECASE)
    try:
        found = u.Unit(logarithm[1] if logarithm else text)
        if logarithm and found.is_equivalent(GRAVITY) and found != GRAVITY:
            raise ValueError("the logarithm of another unit differs by a constant")
    except (ValueError, TypeError):
        known = ("K", "kelvin", "km/s", "m/s", "dex", "mag", "mas", "deg")
        said = f"the unit {text!r} cannot be used{nearest(text, known)}"
        raise CatalogueError(f"{name}: {said}; write it as K, km/s or dex") from None
    return u.one if logarithm else found
