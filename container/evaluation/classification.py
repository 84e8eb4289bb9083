"""The measures of a classifier; equal to scikit-learn's wherever scikit-learn has a value.

A predicted class is the one of highest probability, the first of equals. Precision, recall and F1
are 0 if nothing was predicted, or nothing labeled, as the class. Macro averages are the mean over
the classes that occur among labels or predictions; weighted averages weigh each class by its
labels. ROC AUC is one class against the rest, ties count half; it is None for a class without rows
or with all rows, which the averages leave out.

Rules of this file: pure; no warnings; results are Python numbers, ready for JSON.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from container.errors import UserError

CONFUSION_MATRIX_CLASSES_MAXIMUM: Final = 2000  # some 10 MB of JSON


def compute(labels: NDArray[Any], probabilities: NDArray[Any], class_count: int) -> dict[str, Any]:
    """Measure `probabilities` `[n, class] float` against `labels` `[n] int`, indices of classes.

    Returns: `accuracy`; macro `precision`, `recall`, `f1`, `auc`; the same as `weighted_...`;
    `row_count`; `class_count`; `per_class`, a list in class order of `precision`, `recall`, `f1`,
    `auc`, `support` (rows of the class) and `predicted` (rows predicted as it); `confusion_matrix`,
    rows labels and columns predictions, None beyond 2000 classes.

    Raises: UserError if there are no rows, a label is not a class, or a probability is missing or
    not finite.
    """
    labels, probabilities = _check(labels, probabilities, class_count)
    predictions = probabilities.argmax(axis=1)
    support = np.bincount(labels, minlength=class_count)
    predicted = np.bincount(predictions, minlength=class_count)
    hits = np.bincount(labels[labels == predictions], minlength=class_count)
    by_class = {
        "precision": _divide(hits, predicted),
        "recall": _divide(hits, support),
        "f1": _divide(2 * hits, support + predicted),
    }
    present = (support > 0) | (predicted > 0)
    auc = _compute_auc(labels, probabilities, support)
    ranked = np.isfinite(auc)
    matrix = None
    if class_count <= CONFUSION_MATRIX_CLASSES_MAXIMUM:
        cells = np.bincount(labels * class_count + predictions, minlength=class_count**2)
        matrix = cells.reshape(class_count, class_count).tolist()
    macro_auc = weighted_auc = None
    if ranked.any():
        macro_auc = float(auc[ranked].mean())
        weighted_auc = _weigh(auc[ranked], support[ranked])
    per_class = [
        {
            **{name: float(values[index]) for name, values in by_class.items()},
            "auc": float(auc[index]) if ranked[index] else None,
            "support": int(support[index]),
            "predicted": int(predicted[index]),
        }
        for index in range(class_count)
    ]
    return {
        "accuracy": float(hits.sum() / len(labels)),
        **{name: float(values[present].mean()) for name, values in by_class.items()},
        "auc": macro_auc,
        **{f"weighted_{name}": _weigh(values, support) for name, values in by_class.items()},
        "weighted_auc": weighted_auc,
        "row_count": len(labels),
        "class_count": class_count,
        "per_class": per_class,
        "confusion_matrix": matrix,
    }


def _weigh(values: NDArray[Any], support: NDArray[Any]) -> float:
    return float(values @ support / support.sum())


def _check(
    labels: NDArray[Any], probabilities: NDArray[Any], class_count: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    labels = np.asarray(labels).astype(np.int64, copy=False)
    probabilities = np.asarray(probabilities)
    if probabilities.dtype not in (np.float32, np.float64):
        probabilities = probabilities.astype(np.float64)
    if len(labels) == 0:
        raise UserError("the test set has no rows to measure")
    if probabilities.shape != (len(labels), class_count):
        raise UserError(
            f"the model returned probabilities of shape {list(probabilities.shape)}; expected "
            f"{[len(labels), class_count]}: one row per image, one column per class"
        )
    if labels.min() < 0 or labels.max() >= class_count:
        row = int(np.flatnonzero((labels < 0) | (labels >= class_count))[0])
        message = f"row {row} has the class index {labels[row]}; expected 0 to {class_count - 1}"
        raise UserError(message)
    finite = np.isfinite(probabilities).all(axis=1)
    if not finite.all():
        bad = np.flatnonzero(~finite)
        raise UserError(
            f"the model returned probabilities that are not finite in {len(bad)} rows, first in "
            f"row {bad[0]}"
        )
    return labels, probabilities


def _divide(numerator: NDArray[Any], denominator: NDArray[Any]) -> NDArray[np.float64]:
    quotient = np.zeros(len(numerator))
    np.divide(numerator, denominator, out=quotient, where=denominator > 0)
    return quotient


def _compute_auc(
    labels: NDArray[Any], probabilities: NDArray[Any], support: NDArray[Any]
) -> NDArray[np.float64]:
    """Return the ROC AUC of each class, `[class] float64`, NaN if it is undefined.

    The AUC is the share of pairs (row of the class, other row) in the right order. Only the rows of
    the class are looked up in the sorted column, twice because ties count half; pairs among them,
    which always count half, are then subtracted. All numbers are integers until the division.
    """
    rows = np.argsort(labels, kind="stable")
    ends = np.cumsum(support)
    auc = np.full(len(support), np.nan)
    for index in np.flatnonzero((support > 0) & (support < len(labels))):
        column = np.ascontiguousarray(probabilities[:, index])
        own = np.sort(column[rows[ends[index] - support[index] : ends[index]]])
        column = np.sort(column)
        below = sum(np.searchsorted(column, own, side).sum() for side in ("left", "right"))
        positives = int(support[index])
        auc[index] = (int(below) - positives**2) / (2 * positives * (len(labels) - positives))
    return auc
