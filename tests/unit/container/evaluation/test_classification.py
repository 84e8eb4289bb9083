"""The metrics equal scikit-learn's on random cases; where it has no value, neither do they."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from container.errors import UserError
from container.evaluation import classification

Case = tuple[np.ndarray, np.ndarray, int]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Draw labels and scores of 1-60 rows and 1-7 classes; coarse scores make ties."""
    class_count = draw(st.integers(1, 7))
    row_count = draw(st.integers(1, 60))
    levels = draw(st.sampled_from([1, 2, 5, 1000]))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    drawn = random.choice(class_count, size=draw(st.integers(1, class_count)), replace=False)
    labels = random.choice(drawn, size=row_count)
    scores = random.integers(0, levels, (row_count, class_count)).astype(
        draw(st.sampled_from(["f4", "f8"]))
    )
    return labels, scores / max(levels - 1, 1), class_count


@settings(deadline=None, max_examples=30)
@given(cases())
def test_accuracy_precision_recall_and_f1_equal_scikit_learns(case: Case) -> None:
    labels, scores, class_count = case
    result = classification.compute(labels, scores, class_count)
    predictions = scores.argmax(axis=1)

    assert result["accuracy"] == pytest.approx(
        oracle.accuracy_score(labels, predictions), abs=1e-12
    )
    for prefix, average in (("", "macro"), ("weighted_", "weighted")):
        expected = oracle.precision_recall_fscore_support(
            labels, predictions, average=average, zero_division=0
        )
        got = [result[prefix + name] for name in ("precision", "recall", "f1")]
        assert got == pytest.approx(expected[:3], abs=1e-12)
    expected = oracle.precision_recall_fscore_support(
        labels, predictions, average=None, zero_division=0, labels=range(class_count)
    )
    for name, values in zip(("precision", "recall", "f1", "support"), expected, strict=True):
        assert [row[name] for row in result["per_class"]] == pytest.approx(list(values), abs=1e-12)
    matrix = oracle.confusion_matrix(
        labels, predictions, labels=[*range(class_count), class_count]
    )[:-1, :-1]
    assert result["confusion_matrix"] == matrix.tolist()


@settings(deadline=None, max_examples=30)
@given(cases())
def test_auc_equals_scikit_learns_where_it_is_defined_and_is_none_elsewhere(case: Case) -> None:
    labels, scores, class_count = case
    result = classification.compute(labels, scores, class_count)

    expected, supports = [], []
    for index, row in enumerate(result["per_class"]):
        truth = labels == index
        if truth.all() or not truth.any():
            assert row["auc"] is None
        else:
            expected.append(oracle.roc_auc_score(truth, scores[:, index]))
            supports.append(truth.sum())
            assert row["auc"] == pytest.approx(expected[-1], abs=1e-12)
    if expected:
        assert result["auc"] == pytest.approx(np.mean(expected), abs=1e-12)
        assert result["weighted_auc"] == pytest.approx(
            np.average(expected, weights=supports), abs=1e-12
        )
    else:
        assert result["auc"] is None
        assert result["weighted_auc"] is None


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(3, 8))
def test_average_auc_equals_scikit_learns_multi_class_score(seed: int, class_count: int) -> None:
    random = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(class_count), random.integers(0, class_count, 50)])
    scores = random.random((len(labels), class_count))
    scores /= scores.sum(axis=1, keepdims=True)
    result = classification.compute(labels, scores, class_count)

    for name, average in (("auc", "macro"), ("weighted_auc", "weighted")):
        expected = oracle.roc_auc_score(labels, scores, multi_class="ovr", average=average)
        assert result[name] == pytest.approx(expected, abs=1e-12)


@settings(deadline=None, max_examples=30)
@given(cases())
def test_metrics_are_strict_json(case: Case) -> None:
    result = classification.compute(*case)
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_class_that_is_never_labelled_nor_predicted_is_left_out_of_the_macro_average() -> None:
    scores = np.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0]])
    result = classification.compute(np.array([0, 1]), scores, 3)
    assert result["f1"] == 1.0
    assert result["auc"] == 1.0
    assert result["per_class"][2] == {
        "precision": 0.0,
        "recall": 0.0,
        "f1": 0.0,
        "auc": None,
        "support": 0,
        "predicted": 0,
    }


def test_one_row_has_values_and_no_auc() -> None:
    result = classification.compute(np.array([1]), np.array([[0.3, 0.7]], np.float32), 2)
    assert (result["accuracy"], result["precision"], result["recall"], result["f1"]) == (
        1.0,
        1.0,
        1.0,
        1.0,
    )
    assert result["auc"] is None
    assert result["confusion_matrix"] == [[0, 0], [0, 1]]


def test_constant_scores_have_the_auc_of_chance() -> None:
    result = classification.compute(np.array([0, 0, 1, 2]), np.full((4, 3), 1 / 3), 3)
    assert result["auc"] == 0.5
    assert result["accuracy"] == 0.5


def test_confusion_matrix_is_left_out_beyond_2000_classes() -> None:
    scores = np.eye(3, 2001)
    result = classification.compute(np.arange(3), scores, 2001)
    assert result["confusion_matrix"] is None
    assert result["accuracy"] == 1.0


def test_no_rows_is_the_users_error() -> None:
    with pytest.raises(UserError, match="no rows"):
        classification.compute(np.zeros(0, np.int32), np.zeros((0, 3)), 3)


def test_scores_of_another_shape_name_both_shapes() -> None:
    with pytest.raises(UserError, match=r"\[2, 4\].*\[2, 3\]"):
        classification.compute(np.array([0, 1]), np.zeros((2, 4)), 3)


def test_label_outside_the_classes_names_its_row() -> None:
    with pytest.raises(UserError, match="row 1 has the class index 3"):
        classification.compute(np.array([0, 3]), np.zeros((2, 3)), 3)


def test_scores_that_are_not_finite_name_the_first_row() -> None:
    scores = np.zeros((4, 2))
    scores[2, 1] = np.nan
    scores[3, 0] = np.inf
    with pytest.raises(UserError, match="2 rows, first in row 2"):
        classification.compute(np.array([0, 1, 0, 1]), scores, 2)
