"""The platform's strings become typed values; the bundled job's own hyperparameters."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from container import hyperparameters
from container.errors import UserError
from container.hyperparameters import field
from container.training import settings
from tests.support import ROOT

EXAMPLES = int(os.environ.get("READER_EXAMPLES", "40"))


@dataclasses.dataclass(frozen=True)
class Example:
    """A field of each kind."""

    count: int = field(3, "how many", low=1, high=64)
    seed: int = field(0, "any")
    rate: float = field(0.5, "how fast", low=0.0)
    name: str = field("adam", "which")
    kind: str = field("a", "what kind", choices=("a", "b"))
    flag: bool = field(default=False, effect="whether")
    shape: tuple[int, ...] | None = field(None, "how large", default_words="a square", low=1)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("count", "5", 5),
        ("count", '"5"', 5),
        ("count", "5.0", 5),
        ("count", " 5 ", 5),
        ("count", "1e1", 10),
        ("count", "+5", 5),
        ("count", "007", 7),
        ("count", "5.", 5),
        ("count", "'5'", 5),
        ("rate", ".01", 0.01),
        ("rate", "1.", 1.0),
        ("rate", "+0.1", 0.1),
        ("rate", "+.1E-3", 1e-4),
        ("rate", "'0.5'", 0.5),
        ("rate", '".5"', 0.5),
        ("rate", "00.5", 0.5),
        ("name", "'adam'", "adam"),
        ("name", '"65"', "65"),
        ("name", '"\\"65\\""', "65"),
        ("rate", "1.0E-4", 1e-4),
        ("rate", "2", 2.0),
        ("rate", '"0.25"', 0.25),
        ("name", "adam", "adam"),
        ("name", '"adam"', "adam"),
        ("name", "007", "007"),
        ("name", "1e3", "1e3"),
        ("name", " 1e3 ", "1e3"),
        ("name", "True", "True"),
        ("name", "a b", "a b"),
        ("kind", '"b"', "b"),
        ("flag", "true", True),
        ("flag", "True", True),
        ("flag", '"false"', False),
        ("flag", "False", False),
        ("flag", "0", False),
        ("flag", "1", True),
        ("flag", "On", True),
        ("flag", "off", False),
        ("seed", "9007199254740993", 2**53 + 1),
        ("shape", "[28, 28, 1]", (28, 28, 1)),
        ("shape", '"[28, 28, 1]"', (28, 28, 1)),
        ("shape", "(28, 28, 1)", (28, 28, 1)),
        ("shape", "28,28,1", (28, 28, 1)),
        ("shape", "None", None),
        ("shape", "null", None),
    ],
)
def test_parse_understands_every_encoding_in_use(name: str, text: str, value: object) -> None:
    found, warnings = hyperparameters.parse(Example, {name: text})
    assert getattr(found, name) == value
    assert type(getattr(found, name)) is type(value)
    assert warnings == []


@pytest.mark.parametrize(
    ("name", "text", "possible"),
    [
        ("count", "0", "an integer from 1 to 64"),
        ("count", "65", "an integer from 1 to 64"),
        ("count", "ten", "an integer from 1 to 64"),
        ("count", "1.5", "an integer from 1 to 64"),
        ("count", "true", "an integer from 1 to 64"),
        ("count", "None", "an integer from 1 to 64"),
        ("count", "[1]", "an integer from 1 to 64"),
        ("rate", "-0.1", "a number of at least 0"),
        ("rate", "NaN", "a number of at least 0"),
        ("rate", "Infinity", "a number of at least 0"),
        ("rate", "fast", "a number of at least 0"),
        ("rate", "1,5", "a number of at least 0"),
        ("rate", "1_000", "a number of at least 0"),
        ("rate", "nan", "a number of at least 0"),
        ("rate", "inf", "a number of at least 0"),
        ("rate", "5%", "a number of at least 0"),
        ("count", "0x10", "an integer from 1 to 64"),
        ("seed", "9007199254740993.0", "an integer"),
        ("seed", "1e30", "an integer"),
        ("count", "5 5", "an integer from 1 to 64"),
        ("rate", "1" + "0" * 400, "a number of at least 0"),
        ("count", "1" + "0" * 400, "an integer from 1 to 64"),
        ("kind", "c", "one of a, b"),
        ("flag", "maybe", "true or false"),
        ("shape", "[28, 0, 1]", "a list of integers of at least 1"),
        ("shape", "[28, 1.5]", "a list of integers of at least 1"),
        ("shape", "[]", "a list of integers of at least 1"),
        ("shape", "[[1]]", "a list of integers of at least 1"),
        ("shape", "28,x", "a list of integers of at least 1"),
    ],
)
def test_a_wrong_value_tells_what_was_found_and_what_is_possible(
    name: str, text: str, possible: str
) -> None:
    with pytest.raises(UserError) as caught:
        hyperparameters.parse(Example, {name: text})
    assert f"{name}={text!r}: expected {possible}" in str(caught.value)


def test_all_wrong_values_are_reported_at_once_with_their_defaults() -> None:
    with pytest.raises(UserError, match="3 faults") as caught:
        hyperparameters.parse(Example, {"count": "0", "rate": "x", "shape": "y", "name": "fine"})
    text = str(caught.value)
    assert "(default 3)" in text
    assert "(default 0.5)" in text
    assert "(default a square)" in text


def test_platform_extras_are_ignored_and_unknown_names_warned_of() -> None:
    raw = {
        "_tuning_objective_metric": "x",
        "sagemaker_program": '"train.py"',
        "model_dir": "s3://bucket/model",
        "mp_parameters": "{}",
        "cuont": "3",
        "zzz": "1",
    }
    found, warnings = hyperparameters.parse(Example, raw)
    assert found == Example()
    assert len(warnings) == 2
    assert "'cuont'" in warnings[0]
    assert "'count'" in warnings[0]
    assert "did you mean" not in warnings[1]


@given(
    st.dictionaries(
        st.sampled_from([f.name for f in dataclasses.fields(settings.Settings)]), st.text()
    )
)
def test_no_text_makes_parse_raise_anything_but_a_user_error(raw: dict[str, str]) -> None:
    with contextlib.suppress(UserError):
        assert isinstance(settings.parse(raw)[0], settings.Settings)


@given(st.integers(1, 100_000))
def test_an_integer_is_read_the_same_raw_quoted_and_as_json(value: int) -> None:
    for text in (str(value), json.dumps(str(value)), json.dumps(value)):
        assert settings.parse({"epochs": text})[0].epochs == value


NUMBERS = st.floats(0, 1e6) | st.integers(0, 10**6)


@st.composite
def written(draw: st.DrawFn, values: st.SearchStrategy[Any]) -> tuple[Any, str]:
    """Draw a value, and a text that someone writes of it."""
    value = draw(values)
    text = value if isinstance(value, str) else str(value)
    forms = [text, f" {text} ", json.dumps(text), json.dumps(json.dumps(text)), f"'{text}'"]
    if not isinstance(value, (str, bool)):
        forms += [f"+{text}", text.replace("0.", ".", 1) if text.startswith("0.") else text]
    return value, draw(st.sampled_from(forms))


@hypothesis_settings(max_examples=EXAMPLES)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "count": written(st.integers(1, 64)),
            "rate": written(NUMBERS),
            "name": written(st.sampled_from(["adam", "sgd", "007", "1e3", "true", "a b", "é"])),
            "kind": written(st.sampled_from("ab")),
            "flag": written(st.booleans()),
        },
    ),
    st.sets(st.sampled_from(["Count", "rates", "Name", "batch", "countt", "sagemaker_x", "é"])),
)
def test_every_hyperparameter_is_taken_exactly_or_named(
    known: dict[str, tuple[Any, str]], unknown: set[str]
) -> None:
    raw = {name: text for name, (_, text) in known.items()}
    found, warnings = hyperparameters.parse(Example, {**raw, **dict.fromkeys(unknown, "1")})

    expected = dataclasses.replace(Example(), **{name: value for name, (value, _) in known.items()})
    assert found == expected
    named = sorted(warning.split("'")[1] for warning in warnings)
    assert named == sorted(unknown - {"sagemaker_x"})  # which is the platform's
    assert all("has no effect" in warning for warning in warnings)


@pytest.mark.parametrize("charset", ["latin1", "CP1252", "UTF-16", "shift_jis", '"latin-1"'])
def test_charsets_of_text_are_taken(charset: str) -> None:
    assert settings.parse({"charset": charset})[0].charset == charset.strip('"')


@pytest.mark.parametrize("charset", ["latin-99", "base64", "zlib", "rot13", "utf 9", ""])
def test_what_is_no_charset_is_refused(charset: str) -> None:
    with pytest.raises(UserError, match=r"charset.*expected a charset that Python knows"):
        settings.parse({"charset": charset})


@pytest.mark.parametrize("shape", ["[28, 28]", "[28, 28, 2]", "[28]"])
def test_an_image_shape_that_is_no_image_is_refused(shape: str) -> None:
    with pytest.raises(UserError, match="height, width and channels"):
        settings.parse({"image_shape": shape})


def test_a_model_brings_its_own_defaults_which_the_user_overrides() -> None:
    assert settings.parse({"model": "resnet20"})[0].optimizer == "sgd"
    assert settings.parse({"model": "resnet20"})[0].learning_rate == 0.2
    assert settings.parse({"model": "resnet20", "learning_rate": "0.05"})[0].learning_rate == 0.05
    assert settings.parse({"optimizer": "sgd"})[0].learning_rate == 0.1
    assert settings.parse({})[0] == settings.Settings()


def test_the_documentation_is_what_the_code_says() -> None:
    assert (ROOT / "docs/hyperparameters.md").read_text(encoding="utf-8") == settings.format_page()


def test_every_hyperparameter_is_documented_with_its_effect() -> None:
    page = (ROOT / "docs/hyperparameters.md").read_text(encoding="utf-8")
    for entry in dataclasses.fields(settings.Settings):
        assert f"| `{entry.name}` |" in page
        assert len(entry.metadata["rule"].effect) > 10


def test_settings_and_users_programs_need_neither_numpy_nor_tensorflow() -> None:
    program = "import sys, container.training.main, container.training.settings\n"
    program += "print({'numpy', 'tensorflow', 'keras'} & set(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout == "set()\n"
