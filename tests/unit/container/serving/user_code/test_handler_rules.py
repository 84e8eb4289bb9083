"""Rules of inference code that its start and `doctor` share."""

from collections.abc import AsyncIterator, Callable

import pytest

from container.serving.user_code import handler_rules


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["model_fn", "input_fn", "predict_fn", "output_fn"], []),
        (["handler"], []),
        (
            ["transform_fn", "output_fn", "input_fn"],
            ["transform_fn replaces all three and excludes input_fn, output_fn"],
        ),
        (
            ["handler", "input_handler"],
            ["handler replaces both and excludes input_handler and output_handler"],
        ),
        (["handler", "model_fn"], ["functions of two kinds are mixed: model_fn and handler"]),
    ],
)
def test_functions_that_exclude_each_other_are_named(names: list[str], expected: list[str]) -> None:
    assert handler_rules.find_contradictions(names) == expected


@pytest.mark.parametrize(
    ("name", "taken", "possible"),
    [
        ("model_fn", 1, None),
        ("model_fn", 2, None),
        ("model_fn", 3, "1 or, with the context, 2"),
        ("transform_fn", 3, "4 or, with the context, 5"),
        ("handler", 2, None),
        ("handler", 3, "2"),
    ],
)
def test_the_number_of_arguments_leaves_room_for_the_context(
    name: str, taken: int, possible: str | None
) -> None:
    expected = f"{name} takes {taken} arguments; possible: {possible}" if possible else ""
    assert handler_rules.find_wrong_count(name, taken) == expected


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("predict_fun", "predict_fn"),
        ("predict_func", "predict_fn"),
        ("predict_function", "predict_fn"),
        ("predit_fn", "predict_fn"),
        ("Predict_fn", "predict_fn"),
        ("prediction_fn", "predict_fn"),
        ("modelfn", "model_fn"),
        ("transforms_fn", "transform_fn"),
        ("output_hander", "output_handler"),
    ],
)
def test_a_misspelt_function_is_named_with_the_right_one(name: str, meant: str) -> None:
    others = {"model_fn", "predict_fn", "handler"} - {meant}
    assert handler_rules.find_misspelt([name, *others]) == [
        f"{name} would be ignored; did you mean {meant}?"
    ]


def test_helpers_are_not_misspelt() -> None:
    helpers = ["load_fn", "collate_fn", "loss_fn", "put_fn", "predict", "my_handler", "handle"]
    helpers += ["error_handler", "worker_init_fn", "preprocess_fn", "warmup_fn"]
    assert handler_rules.find_misspelt(helpers) == []
    assert handler_rules.find_misspelt(["predict_fn", "predict_func"]) == []


def plain(parts: object, model: object) -> None:
    """Take parts as no stream can."""


async def coroutine(parts: object, model: object) -> None:
    """Take parts as no stream can."""


async def generator(parts: object, _: object) -> AsyncIterator[object]:
    """Take parts."""
    yield parts


@pytest.mark.parametrize(
    ("function", "is_right"), [(plain, False), (coroutine, False), (generator, True)]
)
def test_a_bidirectional_stream_is_an_asynchronous_generator(
    function: Callable[..., object], is_right: bool
) -> None:
    faults = handler_rules.find_wrong_kinds({"stream_fn": function})
    assert ["must be an asynchronous generator" in fault for fault in faults] == [True] * (
        not is_right
    )
    faults = handler_rules.find_wrong_kinds({"stream_fn": generator, "predict_batch_fn": plain})
    assert "stream_fn is async def" in faults[0]
