"""What is translated into what: the columns, their errors, units and roles."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from .toml import check_keys, nearest, read_toml

SCALARS = ("name", "id", "id_release", "sentinels")
TOP_KEYS = (*SCALARS, "input", "output")
INPUT_KEYS = ("column", "error", "unit", "extrinsic", "error_floor")
KEY_TYPES: dict[str, tuple[type, ...]] = {"extrinsic": (bool,), "error_floor": (float, int)}


class SpecError(ValueError):
    """A specification that cannot be used, with what to change."""


@dataclass(frozen=True)
class Input:
    """One quantity of survey A.

    Parameters
    ----------
    name : str
        The short name used everywhere in results (``teff``).
    column : str
        The column of the table that holds it.
    error : str, optional
        The column of its quoted one-sigma error, in the same unit.
    unit : str
        The unit the model works in; ``""`` for dex and other plain numbers.
    extrinsic : bool
        True for a quantity such as a line-of-sight velocity, which is seen by
        its own output only.
    error_floor : float, optional
        Quoted errors from zero up to this value are raised to it; without a
        floor an error of zero is missing.
    """

    name: str
    column: str
    error: str | None = None
    unit: str = ""
    extrinsic: bool = False
    error_floor: float | None = None


@dataclass(frozen=True)
class Output:
    """One quantity of survey B.

    Parameters
    ----------
    name, column, error, unit, error_floor
        As for `Input`.
    corrects : str or None
        The input of which this output is the corrected value; None for a
        quantity that survey A does not have.
    extrinsic : bool
        True where it has a network of its own that sees every intrinsic input
        and the input it corrects, and informs no other output.
    """

    name: str
    column: str
    error: str | None = None
    unit: str = ""
    corrects: str | None = None
    extrinsic: bool = False
    error_floor: float | None = None


class Block(NamedTuple):
    """Outputs that share one network, with the inputs that network sees.

    Attributes
    ----------
    name : str
        ``intrinsic``, or the name of an extrinsic output.
    inputs : tuple of int
        Positions in ``Spec.inputs``.
    outputs : tuple of int
        Positions in ``Spec.outputs``.
    """

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class Spec:
    """The columns of a translation from survey A to survey B.

    Parameters
    ----------
    name : str
        A title, such as ``"GALAH DR3 to APOGEE DR17"``.
    inputs : tuple of Input
    outputs : tuple of Output
    id : str, optional
        The column that identifies a star; rows with the same value are one
        star and are never split between training and test.
    sentinels : tuple of float, optional
        Numbers that stand for "no value" in the columns of values and errors,
        as the tables hold them. Others that look like it are taken as missing too,
        and said; ``()`` takes every number as measured.
    id_release : str, optional
        Of which catalogue the identifiers are, such as ``"Gaia DR3"``: between releases
        some change, and some go to other stars.

    Raises
    ------
    SpecError
        For duplicate names, an error that is its own value, an output that corrects an
        unknown input or one in another unit, no input or output at all, a sentinel
        that is not a finite number, or an ``error_floor`` that is not positive or has no error.

    Examples
    --------
    >>> spec = Spec("A to B", (Input("teff", "teff_a", unit="K"),),
    ...             (Output("teff", "teff_b", unit="K", corrects="teff"),))
    >>> spec.corrects
    (0,)
    """

    name: str
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    id: str | None = None
    sentinels: tuple[float, ...] | None = None
    id_release: str | None = None

    def __post_init__(self) -> None:
        _check_sentinels(self.sentinels)
        for kind, items in (("input", self.inputs), ("output", self.outputs)):
            if not items:
                raise SpecError(
                    f"spec {self.name!r} has no {kind}; give at least one [{kind}.NAME]"
                )
            names = [item.name for item in items]
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise SpecError(f"spec {self.name!r} names {kind} {twice[0]!r} twice; rename one")
            for item in items:
                if item.error == item.column:
                    raise SpecError(
                        f"{kind} {item.name!r} and its error are one column ({item.column}); "
                        "name the column of the error, or none"
                    )
                _check_floor(f"[{kind}.{item.name}]", item)
        for output in self.outputs:
            name = output.name  # which names columns of catalogues and arrays of model files
            if name in ("intrinsic", "joint") or not name or set(name) & set("/. "):
                raise SpecError(
                    f"spec {self.name!r} names an output {name!r}; use another name than "
                    "'intrinsic' or 'joint', without '/', '.' or blank"
                )
            self._check_correction(output)

    def _check_correction(self, output: Output) -> None:
        if output.corrects is None:
            return
        if output.corrects not in self.input_names:
            raise SpecError(
                f"output {output.name!r} corrects {output.corrects!r}, which is no input"
                f"{nearest(output.corrects, self.input_names)}; "
                f"inputs: {', '.join(self.input_names)}"
            )
        corrected = self.inputs[self.input_names.index(output.corrects)]
        if corrected.unit != output.unit:
            raise SpecError(
                f"output {output.name!r} is in {output.unit!r} but corrects input "
                f"{corrected.name!r} in {corrected.unit!r}; "
                "give both the same unit (columns are converted on reading)"
            )
        if corrected.extrinsic and not output.extrinsic:
            raise SpecError(
                f"output {output.name!r} corrects the extrinsic input {corrected.name!r}; "
                "mark the output extrinsic too"
            )

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the inputs, in the order of the columns of ``x``."""
        return tuple(item.name for item in self.inputs)

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs, in the order of the columns of ``y``."""
        return tuple(item.name for item in self.outputs)

    @property
    def corrects(self) -> tuple[int, ...]:
        """For each output the position of the input it corrects, or -1."""
        return tuple(
            -1 if o.corrects is None else self.input_names.index(o.corrects) for o in self.outputs
        )

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The intrinsic outputs together, then each extrinsic output alone."""
        inner = tuple(j for j, item in enumerate(self.inputs) if not item.extrinsic)
        together = tuple(k for k, item in enumerate(self.outputs) if not item.extrinsic)
        blocks = [Block("intrinsic", inner, together)] if together else []
        for k, output in enumerate(self.outputs):
            if output.extrinsic:
                own = self.corrects[k]
                seen = tuple(sorted({*inner, *([own] if own >= 0 else [])}))
                blocks.append(Block(output.name, seen, (k,)))
        for block in blocks:
            if not block.inputs:
                raise SpecError(f"the {block.name} outputs have no input; add an intrinsic input")
        return tuple(blocks)

    @classmethod
    def from_toml(cls, path: str | os.PathLike[str]) -> Spec:
        """Read a specification from a TOML file.

        Parameters
        ----------
        path : path-like
            A file with ``[input.NAME]`` and ``[output.NAME]`` tables.

        Raises
        ------
        SpecError
            For an unreadable file, an unknown key or a missing one.
        """
        if "\n" in os.fspath(path):
            raise SpecError("give the path of a spec's file; this is the text of one")
        return read_toml(Path(path), "spec", cls.from_dict, SpecError)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Spec:
        """Build a specification from the mapping that its TOML file holds."""
        check_keys("the top level", content, TOP_KEYS, SpecError)
        inputs = [
            Input(**_fields(f"input.{name}", name, table, INPUT_KEYS))
            for name, table in _tables(content, "input")
        ]
        known = {item.name: item for item in inputs}
        outputs = [_output(name, table, known) for name, table in _tables(content, "output")]
        title, identifier = content.get("name", "translation"), content.get("id")
        if identifier is not None and not isinstance(identifier, str):
            raise SpecError(f"id = {identifier!r} must be the name of a column")
        release = content.get("id_release")
        if release is not None and not isinstance(release, str):
            raise SpecError(f'id_release = {release!r} must be text, such as "Gaia DR3"')
        sentinels = content.get("sentinels")
        if isinstance(sentinels, list):
            sentinels = tuple(sentinels)
        return cls(str(title), tuple(inputs), tuple(outputs), identifier, sentinels, release)

    def to_dict(self) -> dict[str, Any]:
        """Return the mapping that `from_dict` reads back."""
        tables: dict[str, Any] = {"name": self.name}
        if self.id is not None:
            tables["id"] = self.id
        if self.id_release is not None:
            tables["id_release"] = self.id_release
        if self.sentinels is not None:
            tables["sentinels"] = list(self.sentinels)
        for kind, items in (("input", self.inputs), ("output", self.outputs)):
            tables[kind] = {}
            for item in items:
                table = {k: v for k, v in asdict(item).items() if k != "name" and v is not None}
                if kind == "output":
                    table.setdefault("corrects", "none")
                tables[kind][item.name] = table
        return tables

    def to_toml(self) -> str:
        """Return the specification as the text of a TOML file."""
        tables = self.to_dict()
        top = [key for key in SCALARS if key in tables]
        lines = [f"{key} = {_quoted(tables[key])}" for key in top]
        for kind in ("input", "output"):
            for name, table in tables[kind].items():
                lines += ["", f"[{kind}.{_quoted(name)}]"]
                lines += [f"{key} = {_quoted(value)}" for key, value in table.items()]
        return "\n".join(lines) + "\n"


def _check_sentinels(sentinels: object) -> None:
    if sentinels is None:
        return
    numbers = sentinels if isinstance(sentinels, tuple) else (None,)
    if not all(type(one) in (int, float) and math.isfinite(one) for one in numbers):
        found = list(sentinels) if isinstance(sentinels, tuple) else sentinels
        raise SpecError(f"sentinels = {found!r} must be a list of numbers, such as [-9999.0]")


def _check_floor(what: str, item: Input | Output) -> None:
    floor = item.error_floor
    if floor is not None and (item.error is None or not 0 < floor < math.inf):
        raise SpecError(f"{what} error_floor = {floor} needs an error column and a positive value")


def _quoted(value: str | bool | float | list[float]) -> str:
    """Return a value as TOML, which reads JSON's strings but not its surrogates."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _tables(content: Mapping[str, Any], kind: str) -> Iterable[tuple[str, Mapping[str, Any]]]:
    tables = content.get(kind, {})
    if not isinstance(tables, Mapping) or not all(isinstance(t, Mapping) for t in tables.values()):
        raise SpecError(f"[{kind}] must hold tables; write [{kind}.NAME] with a column")
    return tables.items()


def _output(name: str, table: Mapping[str, Any], inputs: Mapping[str, Input]) -> Output:
    fields = _fields(f"output.{name}", name, table, (*INPUT_KEYS, "corrects"))
    corrects = fields.get("corrects", name if name in inputs else None)
    fields["corrects"] = None if corrects == "none" else corrects
    corrected = inputs.get(fields["corrects"] or "")
    fields.setdefault("extrinsic", corrected is not None and corrected.extrinsic)
    return Output(**fields)


def _fields(
    where: str, name: str, table: Mapping[str, Any], allowed: tuple[str, ...]
) -> dict[str, Any]:
    check_keys(f"[{where}]", table, allowed, SpecError)
    if "column" not in table:
        raise SpecError(f'[{where}] has no column; write column = "..."')
    for key, value in table.items():
        wanted: tuple[type, ...] = KEY_TYPES.get(key, (str,))
        if not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted):
            raise SpecError(f"[{where}] {key} = {value!r} must be a {wanted[0].__name__}")
    return {"name": name, **table}
