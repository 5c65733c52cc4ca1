"""The specification: what its file may say, and what is refused with which words."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bayestrans.spec import Block, Input, Output, Spec, SpecError

#: The example of the documentation.
TOML = """
name = "GALAH DR3 to APOGEE DR17"
id = "sobject_id"

[input.teff]
column = "teff_galah"
error = "e_teff_galah"     # optional
unit = "K"
[input.rv]
column = "rv_galah"
error = "e_rv_galah"
unit = "km/s"
extrinsic = true           # seen by its own output only

[output.teff]
column = "teff_apogee"
error = "e_teff_apogee"
unit = "K"
corrects = "teff"          # default: the input of the same name
[output.rv]
column = "vhelio_avg"
error = "verr"
unit = "km/s"
"""
SPEC = Spec(
    "GALAH DR3 to APOGEE DR17",
    (
        Input("teff", "teff_galah", "e_teff_galah", "K"),
        Input("rv", "rv_galah", "e_rv_galah", "km/s", extrinsic=True),
    ),
    (
        Output("teff", "teff_apogee", "e_teff_apogee", "K", "teff"),
        Output("rv", "vhelio_avg", "verr", "km/s", "rv", extrinsic=True),
    ),
    "sobject_id",
)
RICH = Spec(
    "rich",
    (
        Input("v", "v_a", "e_v", "km/s", extrinsic=True),
        Input("teff", "teff_a", "e_teff", "K", error_floor=0.5),
        Input("fe_h", "FPARAM[3]"),
        Input("w", "w_a", unit="km/s", extrinsic=True),
    ),
    (
        Output("w", "w_b", unit="km/s", corrects="w", extrinsic=True),
        Output("fe_h", "feh_b", "e_feh_b", corrects="fe_h", error_floor=2),
        Output("mass", "mass_b", unit="Msun"),
        Output("v", "v_b", unit="km/s", corrects="v", extrinsic=True),
        Output("age", "age_b", unit="Gyr", extrinsic=True),
    ),
)


def minimal(**changes) -> dict:
    """Return the mapping of a spec of one input and one output, changed."""
    content = {"input": {"t": {"column": "t_a"}}, "output": {"t": {"column": "t_b"}}}
    for path, value in changes.items():
        *parents, last = path.split("__")
        table = content
        for parent in parents:
            table = table.setdefault(parent, {})
        table[last] = value
    return content


def test_the_documented_file_means_what_it_says(tmp_path):
    path = tmp_path / "spec.toml"
    path.write_text(TOML)
    assert Spec.from_toml(path) == SPEC
    assert Spec.from_toml(str(path)).output_names == ("teff", "rv")


@pytest.mark.parametrize("spec", [SPEC, RICH], ids=lambda spec: spec.name)
def test_round_trips_keep_everything(spec, tmp_path):
    assert Spec.from_dict(spec.to_dict()) == spec
    path = tmp_path / "spec.toml"
    path.write_text(spec.to_toml(), encoding="utf-8")
    assert Spec.from_toml(path) == spec


@given(text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
@example('quote " backslash \\ [x.y] = # \n\t\x00 é α')
def test_any_text_survives_the_toml_file(tmp_path_factory, text):
    spec = Spec(text, (Input(text, text),), (Output("out", text),), text)
    path = tmp_path_factory.mktemp("spec") / "spec.toml"
    path.write_text(spec.to_toml(), encoding="utf-8")
    assert Spec.from_toml(path) == spec


def test_an_output_corrects_the_input_of_its_name_unless_told_otherwise():
    tables = {
        "input": {"teff": {"column": "a"}, "logg": {"column": "b"}},
        "output": {
            "teff": {"column": "c"},
            "mass": {"column": "d"},
            "logg": {"column": "e", "corrects": "none"},
            "teff_irfm": {"column": "f", "corrects": "teff"},
        },
    }
    spec = Spec.from_dict(tables)
    assert [o.corrects for o in spec.outputs] == ["teff", None, None, "teff"]
    assert spec.corrects == (0, -1, -1, 0)
    assert Spec.from_dict(spec.to_dict()).corrects == (0, -1, -1, 0)


def test_title_and_identifier_are_optional():
    spec = Spec.from_dict(minimal())
    assert (spec.name, spec.id) == ("translation", None)
    assert "id" not in spec.to_dict()


def test_a_correction_of_an_extrinsic_input_is_extrinsic_by_default():
    content = minimal(input__t__extrinsic=True, input__u={"column": "u"})
    assert Spec.from_dict(content).outputs[0].extrinsic
    assert not Spec.from_dict(minimal()).outputs[0].extrinsic


def test_the_intrinsic_block_sees_no_extrinsic_input():
    intrinsic = RICH.blocks[0]
    assert intrinsic == Block("intrinsic", (1, 2), (1, 2))


def test_each_extrinsic_output_sees_intrinsic_inputs_and_its_own():
    assert RICH.blocks[1:] == (
        Block("w", (1, 2, 3), (0,)),
        Block("v", (0, 1, 2), (3,)),
        Block("age", (1, 2), (4,)),
    )


def test_every_output_is_in_exactly_one_block():
    assert sorted(k for block in RICH.blocks for k in block.outputs) == [0, 1, 2, 3, 4]
    only = Spec("v", RICH.inputs, RICH.outputs[:1])
    assert only.blocks == (Block("w", (1, 2, 3), (0,)),)


def test_an_extrinsic_output_may_correct_an_intrinsic_input():
    own = dataclasses.replace(RICH.outputs[1], extrinsic=True)
    assert Spec("own", RICH.inputs, (own,)).blocks == (Block("fe_h", (1, 2), (0,)),)


REFUSED = [
    (minimal(input__t__colum="x"), ["[input.t]", "'colum'", "did you mean 'column'?"]),
    (minimal(input__t__corrects="t"), ["[input.t]", "'corrects'", "known keys: column"]),
    (minimal(output__t__corects="t"), ["[output.t]", "'corects'", "did you mean 'corrects'?"]),
    (minimal(inputs={}), ["top level", "'inputs'", "did you mean 'input'?"]),
    (
        minimal(zzz=1),
        ["top level", "'zzz'", "known keys: name, id, id_release, sentinels, input, output"],
    ),
    (minimal(input__u={"unit": "K"}), ["[input.u] has no column", 'column = "..."']),
    (minimal(output__u={}), ["[output.u] has no column"]),
    (minimal(input={}), ["no input", "[input.NAME]"]),
    (minimal(output={}), ["no output", "[output.NAME]"]),
    (minimal(input=3), ["[input] must hold tables"]),
    (minimal(output__u="u_b"), ["[output] must hold tables"]),
    (minimal(input__t__column=3), ["[input.t] column = 3", "str"]),
    (minimal(input__t__extrinsic="yes"), ["[input.t] extrinsic = 'yes'", "bool"]),
    (minimal(output__t__extrinsic=1), ["[output.t] extrinsic = 1", "bool"]),
    (minimal(input__t__unit="K"), ["'t' is in '' but", "'t' in 'K'", "same unit"]),
    (minimal(output__t__corrects="tt"), ["corrects 'tt'", "did you mean 't'?", "inputs: t"]),
    (minimal(output__u={"column": "u", "corrects": "u"}), ["corrects 'u'", "no input"]),
    (
        minimal(input__t__extrinsic=True, output__t__extrinsic=False),
        ["'t' corrects the extrinsic input 't'", "mark the output extrinsic"],
    ),
    (minimal(input__t__error_floor=0.1), ["[input.t] error_floor = 0.1", "error column"]),
    (minimal(output__t__error_floor=0.1), ["[output.t] error_floor = 0.1", "error column"]),
    (minimal(input__t__error_floor="0.1"), ["error_floor = '0.1'", "float"]),
]
FLOORS = [0, -1.0, float("nan"), float("inf"), True]


@pytest.mark.parametrize(("content", "words"), REFUSED, ids=lambda case: str(case)[:60])
def test_a_fault_is_refused_by_name_with_a_remedy(content, words):
    with pytest.raises(SpecError) as caught:
        Spec.from_dict(content)
    message = str(caught.value)
    assert [word for word in words if word not in message] == []
    assert "\n" not in message


@pytest.mark.parametrize("floor", FLOORS)
def test_an_error_floor_is_a_positive_number(floor):
    content = minimal(input__t={"column": "t_a", "error": "e_t", "error_floor": floor})
    with pytest.raises(SpecError, match="error_floor"):
        Spec.from_dict(content)


def test_an_identifier_column_is_a_name():
    with pytest.raises(SpecError, match="id"):
        Spec.from_dict(minimal(id=5))
    with pytest.raises(SpecError, match=r'id_release = 3 must be text, such as "Gaia DR3"'):
        Spec.from_dict(minimal(id_release=3))
    assert Spec.from_dict(minimal()).id_release is None


@pytest.mark.parametrize("kind", ["input", "output"])
def test_a_name_given_twice_is_refused(kind):
    items = {"inputs": SPEC.inputs, "outputs": SPEC.outputs}
    items[f"{kind}s"] = items[f"{kind}s"][:1] * 2
    with pytest.raises(SpecError, match=f"names {kind} 'teff' twice; rename one"):
        Spec("twice", **items)


def test_outputs_without_any_input_are_refused():
    velocity = Input("v", "v_a", extrinsic=True)
    with pytest.raises(SpecError, match="intrinsic outputs have no input; add an intrinsic input"):
        _ = Spec("none", (velocity,), (Output("t", "t_b"),)).blocks


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(SpecError, match=r"none\.toml does not exist; give the path"):
        Spec.from_toml(tmp_path / "none.toml")


@pytest.mark.parametrize(
    "content",
    [b"[input.t\n", b"[input.t]\ncolumn = 'a'\n[input.t]\ncolumn = 'b'\n", b"\xff\xfe\x00", b"x ="],
    ids=["half a table", "a table twice", "not UTF-8", "no value"],
)
def test_what_is_not_toml_is_refused_by_path(content, tmp_path):
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    with pytest.raises(SpecError, match=r"bad\.toml is not valid TOML: "):
        Spec.from_toml(path)


def test_a_fault_in_a_file_names_the_file(tmp_path):
    path = tmp_path / "typo.toml"
    path.write_text(TOML.replace("column", "colunm", 1))
    with pytest.raises(SpecError, match=r"typo\.toml: \[input\.teff\] has an unknown key 'colunm'"):
        Spec.from_toml(path)


def test_an_error_that_is_its_own_value_is_refused():
    with pytest.raises(SpecError, match=r"input 'teff' and its error are one column \(t\)"):
        Spec("x", (Input("teff", "t", "t"),), (Output("teff", "b", corrects="teff"),))


@pytest.mark.parametrize(("error", "floor"), [("e", 0.0), ("e", -1.0), (None, 0.1)])
def test_an_error_floor_that_no_file_may_have_is_refused_in_python_too(error, floor):
    inputs = (Input("teff", "t", error, "K", error_floor=floor),)
    with pytest.raises(SpecError, match=r"\[input.teff\] error_floor = .* needs an error column"):
        Spec("s", inputs, (Output("teff", "t_b"),))
