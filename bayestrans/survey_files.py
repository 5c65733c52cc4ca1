"""A survey of one's own, described in a TOML file as the presets are in Python."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .surveys import RULES, Cut, GaiaId, Quantity, Sky, Survey, SurveyError
from .tables import COMMON, Layout
from .toml import check_keys, nearest, read_toml

#: What may stand where, and of which kind; "!" marks what must.
TOP = {
    "name": "text!",
    "id": "text!",
    "title": "text",
    "source": "text",
    "verified": "true or false",
    "snr": "text",
    "sentinels": "a list of numbers",
    "page": "text",
    "notes": "text",
}
TABLES = ("quantity", "cut", "gaia", "sky", "layout")
QUANTITY = {
    "column": "text!",
    "error": "text, or a list of two columns",
    "calibration": "a list of numbers",
}
CUT = {
    "columns": "a list of texts!",
    "rule": "text!",
    "wanted": "what the rule compares with!",
    "description": "text",
}
SINGLE = "a number, a text, true or false"
WANTED = {
    "equals": SINGLE,
    "differs": SINGLE,
    "above": "a number",
    "below": "a number",
    "bits clear": "a list of whole numbers",
    "zero at": "a list of whole numbers",
    "starts with": "text",
    "blank or": "a list of texts",
}
GAIA = {"column": "text!", "release": "text!", "also": "a list of texts"}
SKY = {"ra": "text!", "dec": "text!", "epoch": "a number!", "pm_ra": "text", "pm_dec": "text"}
LAYOUT = {"hdus": "a list of texts", "separator": "text", "text": "a list of texts"}


def read_survey(path: Path) -> Survey:
    """Read a survey from a TOML file.

    Raises
    ------
    SurveyError
        For an unreadable file, an unknown key, a missing one, or a value of the wrong kind.
    """
    return read_toml(path, "survey", _survey, SurveyError)


def _survey(content: Mapping[str, Any]) -> Survey:
    check_keys("the top level", content, (*TOP, *TABLES), SurveyError)
    top = {key: value for key, value in content.items() if key not in TABLES}
    fields = {
        "title": content.get("name"),
        "source": "described in a file",
        "verified": False,
        **_fields("the top level", top, TOP),
    }
    quantities = tuple(
        Quantity(name, **_fields(f"[quantity.{name}]", table, QUANTITY))
        for name, table in _named(content, "quantity")
    )
    if not quantities:
        raise SurveyError("there is no quantity; write [quantity.teff] with a column")
    cuts = tuple(_cut(name, table) for name, table in _named(content, "cut"))
    gaia, sky, layout = (
        _fields(f"[{key}]", _mapping(content[key], f"[{key}]"), known) if key in content else None
        for key, known in (("gaia", GAIA), ("sky", SKY), ("layout", LAYOUT))
    )
    return Survey(
        **fields,
        quantities=quantities,
        cuts=cuts,
        gaia=None if gaia is None else GaiaId(**gaia),
        sky=None if sky is None else Sky(**sky),
        layout=COMMON if layout is None else Layout(**layout),
    )


def _cut(name: str, table: Mapping[str, Any]) -> Cut:
    fields = _fields(f"[cut.{name}]", table, CUT)
    rule = fields["rule"]
    if rule not in RULES:
        raise SurveyError(
            f"[cut.{name}] has an unknown rule {rule!r}{nearest(rule, RULES)}; "
            f"rules: {', '.join(RULES)}"
        )
    if not _fits(fields["wanted"], WANTED[rule]):
        raise SurveyError(
            f"[cut.{name}]: wanted = {table['wanted']!r} must be {WANTED[rule]} for {rule!r}"
        )
    return Cut(name, **{"description": "", **fields})


def _named(content: Mapping[str, Any], key: str) -> Iterable[tuple[str, Mapping[str, Any]]]:
    """Yield the tables ``[key.NAME]`` by name."""
    for name, table in _mapping(content.get(key, {}), f"[{key}]").items():
        yield name, _mapping(table, f"[{key}.{name}]")


def _mapping(value: object, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise SurveyError(f"{where} must be a table, not {value!r}")
    return value


def _fields(where: str, table: Mapping[str, Any], known: Mapping[str, str]) -> dict[str, Any]:
    """Return what a table holds, lists as tuples, if it is of the kinds that are known."""
    check_keys(where, table, tuple(known), SurveyError)
    found: dict[str, Any] = {}
    for key, kind in known.items():
        if key in table:
            value = table[key]
            found[key] = tuple(value) if isinstance(value, list) else value
            if not _fits(found[key], kind.rstrip("!")):
                raise SurveyError(f"{where}: {key} = {value!r} must be {kind.rstrip('!')}")
        elif kind.endswith("!"):
            raise SurveyError(f"{where} has no {key}; give {kind.rstrip('!')}")
    return found


def _fits(value: object, kind: str) -> bool:
    """Say whether a value is of a kind, in the words of the tables above."""
    several = value if isinstance(value, tuple) else ()
    texts = bool(several) and all(isinstance(item, str) and item for item in several)
    numbers = bool(several) and all(map(_is_number, several))
    text, boolean = isinstance(value, str) and bool(value), isinstance(value, bool)
    return {
        "text": text,
        "true or false": boolean,
        "a number": _is_number(value),
        SINGLE: text or boolean or _is_number(value),
        "a list of numbers": numbers,
        "a list of whole numbers": numbers and all(isinstance(item, int) for item in several),
        "a list of texts": texts,
        QUANTITY["error"]: text or (texts and len(several) == 2),
        CUT["wanted"].rstrip("!"): True,
    }[kind]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
