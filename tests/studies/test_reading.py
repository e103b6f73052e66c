"""What is wrong with a study's file is one line that names the place."""

import json
import re
from pathlib import Path

import jsonschema
import pytest
from study_kit import SMALL, changed, study, write

from ftonnx.errors import UsageError
from ftonnx.inject import FAULT_MODELS
from ftonnx.studies import Study, example, json_schema
from ftonnx.words import parsed_toml

BY_SCHEMA = [
    ({"matrx": {}}, "matrx is not known; did you mean matrix?"),
    ({"study": {"reapeats": 3}}, "study.reapeats is not known; did you mean repeats?"),
    ({"study": {"repeats": "3"}}, "study.repeats: expected int | null, got str"),
    ({"study": {"repeats": True}}, "study.repeats: expected int | null, got bool"),
    ({"study": {"seed": -1}}, "study.seed: expected int >= 0"),
    ({"study": {"name": ""}}, "study.name: expected str of length >= 1"),
    ({"models": {"m": {"flie": "m.onnx"}}}, "models.m.flie is not known; did you mean file?"),
    ({"models": {"m": {"architecture": "digits", "input_shape": [3, 8]}}}, "models.m.input_shape: expected array of"),
    ({"data": {"d": {"spec": "digits", "tuning": {"spec": "digits", "splt": "val"}}}}, "data.d.tuning.splt is not"),
    ({"data": {"d": {"split": "val"}}}, "data.d: object missing required field spec"),
    ({"faults": {"f": {"rates": 1e-5}}}, "faults.f.rates is not known; did you mean rate?"),
    ({"faults": {"f": {"rate": ["1e-5"]}}}, "faults.f.rate[0]: expected float, got str"),
    ({"matrix": {"protect": ["none", "clpact"]}}, "matrix.protect[1]: invalid enum value 'clpact'; did you mean cl"),
    ({"matrix": {"quantize": []}}, "matrix.quantize: expected array of length >= 1"),
    ({"exclude": [{"protection": "relu6"}]}, "exclude[0].protection is not known; did you mean protect?"),
    ({"campaign": {"thread": 1}}, "campaign.thread is not known; did you mean threads?"),
    ({"qat": {"epochs": -1}}, "qat.epochs: expected int >= 0"),
    ({"activations": {"rate": [1e-5]}}, "activations.rate is not known; did you mean rates?"),
    ({"activations": {"rates": [1.5]}}, "activations.rates[0]: expected float <= 1.0"),
    ({"activations": {"images": 0}}, "activations.images: expected int >= 1"),
    ({"activations": {"protect": ["relu"]}}, "activations.protect[0]: invalid enum value 'relu'; did you mean relu6?"),
    ({"log_odds": {"refrence": "digits"}}, "log_odds.refrence is not known; did you mean reference?"),
]
BY_VALUE = [
    ({"models": {}}, "models: a table with an entry or several was expected, got {}"),
    (
        {"models": {"a/b": "digits"}},
        "models: a name of at most 64 letters, digits, dots, _ and - was expected, got 'a/b'",
    ),
    ({"models": {"..": "digits"}}, "models: a name of"),
    ({"data": {"d" * 65: "digits"}}, "data: a name of at most 64"),
    ({"models": {"m": {}}}, "models.m: either a file or an architecture was expected"),
    ({"models": {"m": {"file": "a.onnx", "architecture": "digits"}}}, "models.m: either a file or an architecture"),
    ({"models": {"m": {"file": "a.onnx", "classes": 3}}}, "models.m: a.onnx is a model already"),
    (
        {"faults": {"f": {"exhaustive": False}}},
        "faults.f: exactly one of rate, burst_rate, over, stuck_rate, rate_1to0, value_rate",
    ),
    ({"faults": {"f": {"rate": 1e-5, "per_layer": 3}}}, "got rate and per_layer"),
    ({"faults": {"f": {"rate": [2.0]}}}, "faults.f: a fault rate is a probability per bit"),
    ({"faults": {"f": {"fault_list": "missing.csv"}}}, "missing.csv"),
    ({"faults": {"f": {"rate": 1e-5, "protection": "ecc.toml"}}}, "faults.f: ecc.toml: a protection plan in TOML was"),
    ({"matrix": {"models": ["nett"]}}, "matrix.models: nett is no entry of [models]; did you mean net?"),
    ({"matrix": {"data": []}}, "matrix.data: names of entries were expected, got none"),
    ({"exclude": [{"protect": "relu6"}]}, "exclude[0] fits no cell of the matrix"),
    ({"exclude": [{}]}, "exclude: everything is left out"),
    ({"study": {"task": "clasification"}}, "study.task: task 'clasification' is not known"),
    ({"campaign": {"threads": 5000}}, "campaign: threads: a whole number from 1 to 1,024 was expected, got 5000"),
    ({"campaign": {"strategy": "fast"}}, "campaign: strategy 'fast' is not known"),
    ({"protection": {"rates": [1e-5]}}, "protection: an area needs two or more rates"),
    ({"quantization": {"calibration": "maximum"}}, "quantization: calibration: expected one of histogram"),
    ({"qat": {"learning_rate": 20.0}}, "qat: learning_rate must be above 0"),
    ({"activations": {"models": ["nett"]}}, "activations.models: nett is no entry of [models]; did you mean net?"),
    ({"activations": {"data": ["digit"]}}, "activations.data: digit is no entry of [data]; did you mean digits?"),
    ({"activations": {"data": []}}, "activations.data: names of entries were expected, got none"),
    ({"faults": {"activations": {"rate": 1e-5}}}, "faults.activations: another name was expected; cells of [activ"),
    ({"log_odds": {"reference": "digit"}}, "log_odds.reference: digit is no data set of a campaign; did you mean dig"),
]


@pytest.mark.parametrize(("tables", "message"), [*BY_SCHEMA, *BY_VALUE])
def test_a_mistake_is_named_with_its_place(tables, message, tmp_path):
    """From Python and, with the file and the line in front, from a file; what was probably meant is offered."""
    with pytest.raises(UsageError) as caught:
        study(**tables)
    assert message in str(caught.value)
    values = changed(**tables)
    path = write(tmp_path / "s.toml", values)  # a table is a line
    line = 1 + list(values).index(next(iter(tables)))
    with pytest.raises(UsageError) as from_file:
        Study.read(path)
    assert str(from_file.value) == f"{path}:{line}: {caught.value}"
    assert "`" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("table", ["study", "models", "data", "faults"])
def test_a_missing_table_is_named(table):
    """All others have defaults."""
    values = {key: value for key, value in SMALL.items() if key != table}
    with pytest.raises(UsageError, match=rf"a table \[{table}\] (or \[activations\] )?was expected"):
        Study.from_dict(values)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[study", "s.toml: a study in TOML was expected"),
        ("a = 1\na = 2\nb = 3", "s.toml:2: a study in TOML was expected: Cannot overwrite a value"),
        ("\n\na = 1e", "s.toml:3: a study in TOML was expected"),
        (f"a = {'[' * 5000}{']' * 5000}", "s.toml: a study in TOML was expected: it is nested too deeply"),
        ("#\nstudy = 3", "s.toml:2: study: expected object, got int"),
        ("", "s.toml: a table [study] was expected"),
    ],
)
def test_what_is_no_study_is_refused(content, message, tmp_path):
    """TOML errors, and TOML that holds something else."""
    path = tmp_path / "s.toml"
    path.write_text(content)
    with pytest.raises(UsageError) as caught:
        Study.read(path)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


def test_a_missing_file_is_refused(tmp_path):
    """With its name and what to do."""
    with pytest.raises(UsageError, match=r"no\.toml: a study in TOML was expected: No such file .*check the path"):
        Study.read(tmp_path / "no.toml")


@pytest.mark.parametrize("value", ["\ud800", {"\ud800": 1}, object(), {1, "a"}])
def test_what_no_file_can_hold_is_refused(value):
    """Half a character, and objects of Python's."""
    with pytest.raises(UsageError, match=r"values that a file can hold were expected|study\.name: expected str"):
        study(study={"name": value})


def schema_errors(values):
    """Return what an independent reader of JSON schemas finds."""
    validator = jsonschema.Draft202012Validator(json_schema())
    return list(validator.iter_errors(json.loads(json.dumps(values))))


@pytest.mark.parametrize("tables", [tables for tables, _ in BY_SCHEMA])
def test_the_schema_refuses_what_the_reader_refuses(tables):
    """The published schema is made of the same definitions; jsonschema is the oracle."""
    assert schema_errors(changed(**tables))


def on_the_page():
    """Return the study that the page shows first, and a small one with the faults that it shows then."""
    text = (Path(__file__).parents[2] / "docs" / "studies.md").read_text(encoding="utf-8")
    whole, faults, *_ = re.findall(r"^```toml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return parsed_toml(whole), SMALL | parsed_toml(faults)


@pytest.mark.parametrize(
    "values", [SMALL, parsed_toml(example()), *on_the_page()], ids=["small", "example", "page", "faults of the page"]
)
def test_the_schema_takes_what_the_reader_takes(values):
    """The small study, the example, and those that the page shows."""
    assert schema_errors(values) == []
    Study.from_dict(values)


def test_every_key_of_every_table_is_on_the_page():
    """In the row of its table; what faults are asked for by comes from the fault models."""
    text = (Path(__file__).parents[2] / "docs" / "studies.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", text, re.MULTILINE))
    schema = json_schema()["$defs"]
    names = {"study": "StudyTable", "models": "ModelTable", "data": "DataTable", "exclude": "Exclusion"}
    names |= {"faults": "FaultsTable", "matrix": "Matrix", "campaign": "CampaignTable", "qat": "QatTable"}
    names |= {"protection": "ProtectionTable", "quantization": "QuantizationTable"}
    names |= {"activations": "ActivationsTable", "log_odds": "LogOddsTable"}
    assert rows.keys() == names.keys() == schema["Document"]["properties"].keys()
    for table, name in names.items():
        shown = set(re.findall(r"`(\w+)`", rows[table]))
        keys = schema[name]["properties"].keys() - ({"file"} if table == "models" else set())
        assert keys <= shown, table


def test_every_option_of_every_fault_model_is_a_key():
    """A new fault model needs no line here."""
    keys = json_schema()["$defs"]["FaultsTable"]["properties"]
    for kind in FAULT_MODELS:
        for option in kind.options:
            assert keys[option.name]["description"] == option.help


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ({"rate": 1e-5}, "BitFlipRates(rates=(1e-05,))"),
        ({"rate": [1e-4, 1e-5]}, "BitFlipRates(rates=(1e-05, 0.0001))"),
        ({"faults_per_run": 2}, "FaultCount(count=2)"),
        ({"exhaustive": True, "per_layer": 4}, None),
        ({"exhaustive": True}, "EveryBit()"),
        ({"per_layer": 4}, "PerLayer(count=4)"),
        (
            {"burst_rate": [1e-5], "burst_sizes": "2"},
            "Bursts(rates=(1e-05,), sizes='2:1.0', along='bits', memory=None)",
        ),
        ({"rate_0to1": 1e-5}, "AsymmetricRates(rates_1to0=(0.0,), rates_0to1=(1e-05,))"),
        ({"stuck_per_run": 2, "stuck_at": "1"}, "StuckCount(count=2, at='1')"),
        ({"stuck_rate": 1e-5, "stuck_at": 1}, "StuckRates(rates=(1e-05,), at='1')"),
        ({"value_rate": 0.1, "value": "-1"}, "ValueRates(rates=(0.1,), value='-1.0')"),
        ({"value_rate": 0.1, "value": 0.5}, "ValueRates(rates=(0.1,), value='0.5')"),
        ({"burst_rate": 1e-5, "burst_sizes": 2}, "Bursts(rates=(1e-05,), sizes='2:1.0', along='bits', memory=None)"),
        (
            {"burst_rate": 1e-5, "burst_sizes": ["1:0.9", "2:0.1"]},
            "Bursts(rates=(1e-05,), sizes='1:0.9,2:0.1', along='bits', memory=None)",
        ),
        (
            {"over": ["6h", "90min"], "upsets_per_bit_day": 1e-7, "burst_sizes": 3},
            "Accumulation(hours=(1.5, 6.0), upsets_per_bit_day=1e-07, sizes='3:1.0', along='bits', memory=None, "
            "scrub=None)",
        ),
        ({"stratum": "a:0:5"}, "Strata(strata=(Stratum(tensor='a', bits=(0,), count=5),))"),
        (
            {"stratum": ["a:0,1:5", "b:2:5"]},
            "Strata(strata=(Stratum(tensor='a', bits=(0, 1), count=5), Stratum(tensor='b', bits=(2,), count=5)))",
        ),
        (
            {"over": "6h,90min", "upsets_per_bit_day": 1e-7, "scrub": "1d"},
            "Accumulation(hours=(1.5, 6.0), upsets_per_bit_day=1e-07, sizes='1:1.0', along='bits', memory=None, "
            "scrub=24.0)",
        ),
        ({"stuck_at": "1"}, None),
        ({"rate": 1e-5, "burst_sizes": "2"}, None),
    ],
)
def test_faults_are_read_by_the_names_of_the_options(table, expected):
    """As a file of options of ftonnx inject has them."""
    if expected is None:
        with pytest.raises(UsageError, match="exactly one of"):
            study(faults={"f": table})
        return
    assert repr(study(faults={"f": table}).faults["f"].model) == expected
