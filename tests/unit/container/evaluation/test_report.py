"""The report page: its content, that it needs no other file, and that class names are escaped."""

from __future__ import annotations

import base64
import dataclasses
import io
import re
from collections.abc import Sequence
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from container.data.copies import Prints
from container.data.formats.parts import Part
from container.data.images import LabeledImages
from container.evaluation import classification, report

HISTORY = [
    {
        "epoch": 1,
        "train_loss": 0.9,
        "validation_loss": 0.8,
        "train_accuracy": 0.7,
        "validation_accuracy": 0.75,
    },
    {
        "epoch": 2,
        "train_loss": 0.4,
        "validation_loss": 0.5,
        "train_accuracy": 0.9,
        "validation_accuracy": 0.85,
    },
]


class Page(HTMLParser):
    """A parsed page: its elements as (tag, attributes), and the text of each element by tag."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        """Keep the element."""
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Keep the text."""
        self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """Return the attributes of every element of this name."""
        return [attributes for name, attributes in self.elements if name == tag]


def make_case(
    class_count: int = 3,
    row_count: int = 60,
    classes: tuple[int | str, ...] | None = None,
    channels: int = 1,
) -> tuple[LabeledImages, np.ndarray]:
    random = np.random.default_rng(7)
    images = random.integers(0, 256, (row_count, 8, 8, channels), np.uint8)
    labels = random.integers(0, class_count, row_count).astype(np.int32)
    scores = random.random((row_count, class_count)) + np.eye(class_count)[labels] / 2
    scores /= scores.sum(axis=1, keepdims=True)
    return LabeledImages(images, labels, classes or tuple(range(class_count))), scores.astype(
        np.float32
    )


def render(labeled: LabeledImages, scores: np.ndarray, **background: object) -> str:
    metrics = classification.compute(labeled.labels, scores, len(labeled.classes))
    return report.render(labeled, scores, metrics, report.Background(**background))


def test_page_refers_to_nothing_outside_itself() -> None:
    page = Page(render(*make_case(), history=HISTORY))
    assert page.all("script") == page.all("link") == []
    references = [
        value
        for _, attributes in page.elements
        for key in ("src", "href")
        if (value := attributes.get(key))
    ]
    assert references
    assert all(reference.startswith("data:image/png;base64,") for reference in references)


def test_class_names_that_are_markup_stay_text() -> None:
    hostile = ("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{ 7 * 7 }}")
    page = Page(render(*make_case(classes=hostile), facts={"<b>": "</dl><script>"}))
    assert page.all("script") == page.all("b") == []
    assert not [attributes for _, attributes in page.elements if "onerror" in attributes]
    for name in hostile:
        assert name in page.text


def test_class_name_that_is_no_unicode_does_not_stop_the_page() -> None:
    assert "\udcff" in render(*make_case(classes=("a\udcff", "b", "c")))


def test_every_count_of_the_confusion_matrix_stands_in_its_cell() -> None:
    labeled, scores = make_case()
    html = render(labeled, scores)
    counts = re.findall(r'<td class="(?:hit|miss|zero)"[^>]*>([\d,]+)</td>', html)
    expected = classification.compute(labeled.labels, scores, 3)["confusion_matrix"]
    assert np.array(counts, int).reshape(3, 3).tolist() == expected


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_worst_mistakes_are_the_images_themselves_the_most_certain_first(channels: int) -> None:
    labeled, scores = make_case(channels=channels)
    shown = Page(render(labeled, scores)).all("img")
    wrong = np.flatnonzero(scores.argmax(axis=1) != labeled.labels)
    certainty = scores[wrong].max(axis=1) - scores[wrong, labeled.labels[wrong]]
    expected = wrong[np.argsort(-certainty, kind="stable")]
    assert len(shown) == min(len(wrong), 24)
    for row, image in zip(expected, shown, strict=False):
        label, predicted = labeled.labels[row], scores[row].argmax()
        assert image["alt"] == f"row {row + 1}: {label} taken for {predicted}"
        pixels = np.asarray(
            Image.open(io.BytesIO(base64.b64decode((image["src"] or "").split(",")[1])))
        )
        expected_pixels = labeled.images[row] if channels == 3 else labeled.images[row, :, :, 0]
        assert np.array_equal(pixels, expected_pixels)


def test_a_mistake_in_a_row_names_its_file() -> None:
    labeled, scores = make_case()
    part = Part(labeled.images, labeled.labels, lambda index: f"b.csv, row {index + 2}")
    prints = Prints()
    prints.add(part)
    shown = Page(render(dataclasses.replace(labeled, prints=prints), scores)).all("img")
    assert all((image["alt"] or "").startswith("b.csv, row ") for image in shown)
    assert shown


def test_large_images_are_shown_small() -> None:
    labeled = LabeledImages(
        np.zeros((1, 600, 300, 3), np.uint8), np.array([0], np.int32), ("a", "b")
    )
    source = Page(render(labeled, np.array([[0.1, 0.9]]))).all("img")[0]["src"] or ""
    assert Image.open(io.BytesIO(base64.b64decode(source.split(",")[1]))).size == (80, 160)


def test_every_header_cell_says_what_it_heads() -> None:
    headers = Page(render(*make_case(), history=HISTORY)).all("th")
    assert len(headers) > 10
    assert {header.get("scope") for header in headers} == {"row", "col"}


def test_page_without_mistakes_says_so() -> None:
    labeled = LabeledImages(
        np.zeros((1, 8, 8, 1), np.uint8), np.array([1], np.int32), ("cat", "dog")
    )
    page = Page(render(labeled, np.array([[0.0, 1.0]])))
    assert page.all("img") == []
    assert "every image was classified correctly" in " ".join(page.text)


def test_page_has_date_and_hyperparameters() -> None:
    given = {"learning_rate": 0.5, "towers": None, "<i>": "</dl>"}
    page = render(*make_case(), facts={"Network": "n"}, hyperparameters=given, date="2026-01-02")
    assert "mistakes, 2026-01-02</p>" in page
    assert "<dt>learning_rate</dt><dd><bdi>0.5</bdi></dd>" in page
    assert "<dt>towers</dt><dd><bdi>\N{EM DASH}</bdi></dd>" in page
    assert Page(page).all("i") == []


def test_page_without_history_has_no_curves() -> None:
    assert Page(render(*make_case())).all("svg") == []


@pytest.mark.parametrize(
    "history",
    [
        HISTORY[:1],
        [{"train_loss": float("nan"), "validation_loss": 0.5}],
        [{"epoch": 1, "train_loss": float("inf"), "train_accuracy": 1.0}],
        [{"epoch": epoch, "train_loss": 0.0} for epoch in range(500)],
        [{"epoch": 1, "train_loss": 1e-30}, {"epoch": 2, "train_loss": 1e30}],
        [{"epoch": 1, "train_loss": 0.3}, {"epoch": 2, "train_loss": 0.3 + 1e-16}],
        [{"epoch": 1, "train_loss": 1e-15}, {"epoch": 2, "train_loss": 2e-15}],
    ],
    ids=["one epoch", "nan", "infinity", "constant", "huge range", "no range", "tiny"],
)
def test_curves_lie_inside_their_frame(history: list[dict[str, float]]) -> None:
    page = Page(render(*make_case(), history=history))
    lines = [line["points"] or "" for line in page.all("polyline")]
    assert lines
    for line in lines:
        points = np.array([point.split(",") for point in line.split()], float)
        assert points.min() >= 0
        assert points.max() <= 100


def test_wide_matrices_give_way_to_the_confused_pairs() -> None:
    html = render(*make_case(class_count=31, row_count=500))
    assert 'class="matrix' not in html
    assert "The most frequent confusions" in html


def test_table_of_very_many_classes_shows_those_with_the_lowest_f1() -> None:
    labeled, scores = make_case(class_count=300, row_count=900)
    html = render(labeled, scores)
    assert "The 200 classes of 300 with the lowest F1" in html
    per_class = classification.compute(labeled.labels, scores, 300)["per_class"]
    worst = min(range(300), key=lambda index: per_class[index]["f1"])
    table = html[html.index('id="classes"') :]
    assert re.search(r'<th scope="row"><bdi>(\d+)</bdi>', table)[1] == str(worst)


@pytest.mark.parametrize(
    ("share", "digits", "text"),
    [
        (0.99999, 2, "99.99"),
        (1.0, 2, "100.00"),
        (0.00001, 1, "0.1"),
        (0.0, 1, "0.0"),
        (0.5, 1, "50.0"),
    ],
)
def test_percentages_never_round_to_all_or_nothing(share: float, digits: int, text: str) -> None:
    assert report.format_percent(share, digits) == text + "\u202f%"


def test_interval_of_accuracy_equals_wilsons() -> None:
    assert report.wilson_interval(0.9, 100) == pytest.approx((0.825634, 0.944771), abs=1e-6)
    assert report.wilson_interval(1.0, 1) == pytest.approx((0.206549, 1.0), abs=1e-6)


def test_a_mistake_is_named_by_its_file() -> None:
    labeled, scores = make_case(row_count=40)
    names = tuple(f"cat/<IMG {number:03}>.jpg" for number in range(40))
    page = Page(render(dataclasses.replace(labeled, names=names), scores))
    worst = report.find_worst(labeled.labels, scores)
    assert len(worst)
    for row in worst:
        assert names[row] in page.text
    assert not [text for text in page.text if text.startswith("row ")]
