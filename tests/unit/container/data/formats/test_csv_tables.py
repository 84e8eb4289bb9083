"""CSV columns: which one holds the labels, and what is not a picture."""

from __future__ import annotations

from pathlib import Path

import pytest

from container.data import loading, sets
from container.data.formats.parts import Options
from container.errors import UserError

LAST = "1,2,3,4,7\n5,6,7,8,9\n"


def load(directory: Path, text: str, label_column: str = "label") -> tuple[int | str, ...]:
    (directory / "rows.csv").write_text(text, encoding="utf-8")
    return loading.load(directory, Options(label_column=label_column)).classes


@pytest.mark.parametrize("where", ["last", "LAST", "-1", "5", " 5 "])
@pytest.mark.parametrize("header", ["", "a,b,c,d,e\n"])
def test_the_label_may_be_named_by_its_position(where: str, header: str, tmp_path: Path) -> None:
    assert load(tmp_path, header + LAST, where) == (7, 9)


@pytest.mark.parametrize(
    ("where", "classes"), [("first", (1, 5)), ("1", (1, 5)), ("2", (2, 6)), ("-5", (1, 5))]
)
def test_positions_count_from_one(where: str, classes: tuple[int, int], tmp_path: Path) -> None:
    assert load(tmp_path, LAST, where) == classes


@pytest.mark.parametrize("where", ["0", "6", "-6", "digit", "1.5", "las"])
def test_a_column_that_is_not_there_is_refused(where: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"has no column '{where}'.*first, last, or its number"):
        load(tmp_path, LAST, where)


def test_a_number_in_the_first_row_does_not_make_it_a_header(tmp_path: Path) -> None:
    assert load(tmp_path, "1,2,3,4,5\n5,6,7,8,9\n", "5") == (5, 9)


def test_a_header_that_counts_is_not_an_image(tmp_path: Path) -> None:
    header = ",".join(map(str, range(17)))
    row = ",".join(["9"] * 17)
    with pytest.raises(UserError, match=r"no column 'label': its 17 columns are 0, 1, 2, 3"):
        load(tmp_path, f"{header}\n{row}\n")
    assert load(tmp_path, f"{header}\n{row}\n", "last") == (9,)


@pytest.mark.parametrize("name", ["Label", "LABEL"])
def test_the_header_may_be_in_capitals(name: str, tmp_path: Path) -> None:
    assert load(tmp_path, f"a,b,c,d,{name}\n{LAST}") == (7, 9)


@pytest.mark.parametrize("name", ["class", "target", "labels", "y"])
def test_the_first_column_is_not_taken_if_another_one_is_called_like_a_label(
    name: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=f"no column 'label'.* {name}"):
        load(tmp_path, f"a,b,c,d,{name}\n{LAST}")
    assert load(tmp_path, f"a,b,c,d,{name}\n{LAST}", name) == (7, 9)


@pytest.mark.parametrize(
    ("rows", "is_doubted"),
    [
        ([f"{i},1,2,3,4" for i in range(200)], True),
        ([f"{i % 101},1,2,3,4" for i in range(2000)], True),
        ([f"img_{i},1,2,3,4" for i in range(30)], True),
        ([f"{i % 10},1,2,3,4" for i in range(200)], False),
        ([f"class {i % 40},1,2,3,4" for i in range(200)], False),
    ],
)
def test_labels_that_are_hardly_classes_draw_a_warning(
    rows: list[str], is_doubted: bool, tmp_path: Path
) -> None:
    (tmp_path / "rows.csv").write_text("\n".join(rows), encoding="utf-8")
    text = sets.describe(loading.load(tmp_path), "training")
    assert ("warning: " in text and "set label_column" in text) == is_doubted


def test_classes_that_differ_only_in_case_draw_a_warning(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("cat,1,2,3,4\nCat,1,2,3,4\ndog,1,2,3,4\n", encoding="utf-8")
    text = sets.describe(loading.load(tmp_path), "training")
    assert "'Cat', 'cat' differ only in case" in text


@pytest.mark.parametrize(
    "text",
    [
        'Id,Survived,Name,Sex,Age\n1,0,"Braund, Mr",male,22\n2,1,"Moran, Ms",female,\n',
        "label,age,sex,fare,cabin\n1,22,male,7.25,\n0,38,female,71.3,C85\n",
        "species,length,width\nsetosa,5.1,3.5\nvirginica,6.3,3.3\n",
        "species,a,b,c,d\nsetosa,5.1,3.5,1.4,0.2\nsetosa,4.9,3.0,1.4,0.2\n",
        "1,2,,3,4.5\n2,,,4,1.5\n",
    ],
)
def test_a_table_of_other_values_is_told_from_pictures(text: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"learns pictures.*container init --kind script"):
        load(tmp_path, text)


def test_a_bad_pixel_among_good_rows_is_not_called_a_table(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        load(tmp_path, "3,1,2,3,4\n3,1,2,x,4\n")
    assert "init" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1,2,3,4,cat\n5,6,7,8,dog\n", "'column 5' holds 'cat', .* set label_column=last"),
        ("1,cat,3,4,5\n5,dog,7,8,9\n", "'column 2' holds 'cat', .* set label_column=2"),
        ("a,b,c,d,kind\n1,2,3,4,cat\n5,6,7,8,dog\n", "'kind' holds 'cat', .* label_column=last"),
    ],
)
def test_text_in_another_column_is_probably_the_label(
    text: str, reason: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=reason):
        load(tmp_path, text)
    assert load(tmp_path, text, reason.rpartition("=")[2]) == ("cat", "dog")


@pytest.mark.parametrize(
    "text",
    [
        "label,a,b,c,d\ncat, black,1,2,3,4\ndog, x,1,2,3,4\n",
        "label,a,b,c,d\ncat,1,2,3,4\n'cat, black',1,2,3,4\n",
        "label,a,b,c,d\ncat,1,2,3,4\ncat\\, black,1,2,3,4\n",
        "cat,1,2,3,4\ncat, black,1,2,3,4\n",
        "cat, black,1,2,3,4\ncat,1,2,3,4\ndog,1,2,3,4\n",
        "cat, black,1,2,3,4\ncat, white,1,2,3,4\n",
        "label;a;b;c;d\ncat;1;2;3;4\ncat; black;1;2;3;4\n",
    ],
)
def test_a_label_with_a_separator_is_to_be_quoted(text: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match='"cat, black",0,255') as caught:
        load(tmp_path, text)
    is_taken_for_a_table = "is a table and not pictures" in str(caught.value)
    assert is_taken_for_a_table or "init --kind" not in str(caught.value)


def test_files_with_their_columns_in_another_order_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("label,p1,p2,p3,p4\n1,5,6,7,99\n")
    (tmp_path / "b.csv").write_text("p2,p1,p3,p4,label\n5,6,7,99,2\n")
    with pytest.raises(UserError, match=r"b\.csv has the columns .* another order: p2, p1, p3"):
        loading.load(tmp_path)
    (tmp_path / "b.csv").write_text("p1,p2,p3,p4,label\n5,6,7,99,2\n")
    loaded = loading.load(tmp_path)
    assert loaded.classes == (1, 2)
    assert loaded.images[0].tolist() == loaded.images[1].tolist()


@pytest.mark.parametrize(
    ("header", "is_doubted"),
    [
        ("label,p1,p10,p2,p3", True),
        ("label,r0c0,r1c0,r0c1,r1c1", True),
        ("label,R0,R1,G0,G1", True),
        ("label,p1,p2,p3,p10", False),
        ("label,1x1,1x2,2x1,2x2", False),
        ("label,r0,g0,r1,g1", False),
        ("label,p1,p2,x,p10", False),
        ("label,a,b,c,d", False),
    ],
)
def test_pixels_that_are_not_in_the_order_of_their_numbers_draw_a_warning(
    header: str, is_doubted: bool, tmp_path: Path
) -> None:
    (tmp_path / "rows.csv").write_text(f"{header}\n1,2,3,4,99\n2,2,3,4,99\n")
    text = "\n".join(loading.load(tmp_path).notes)
    assert ("not in the order of their numbers" in text) == is_doubted


@pytest.mark.parametrize(
    ("header", "is_doubted"),
    [
        ("label,p0,p1,p1,p2", True),
        ("label,p0,p1,p2,p3", False),
        ("label,pixel,pixel,pixel,pixel", False),
        ("label,,,,", False),
    ],
)
def test_two_pixels_of_one_name_draw_a_warning(
    header: str, is_doubted: bool, tmp_path: Path
) -> None:
    (tmp_path / "rows.csv").write_text(f"{header}\n1,2,3,4,99\n2,2,3,4,99\n")
    text = "\n".join(loading.load(tmp_path).notes)
    assert ("2 columns are called 'p1'; each is a pixel" in text) == is_doubted


@pytest.mark.parametrize(
    ("header", "is_doubted"),
    [
        ("label,age,sex,rooms,floors", True),
        ("label,age,sex,rooms,x4", True),
        ("label,p0,p1,p2,p3", False),
        ("label,a,b,c,d", False),
        ("label,pixel,pixel,pixel,pixel", False),
    ],
)
def test_a_table_of_whole_numbers_draws_a_warning(
    header: str, is_doubted: bool, tmp_path: Path
) -> None:
    (tmp_path / "rows.csv").write_text(f"{header}\n1,2,3,4,99\n2,2,3,4,99\n")
    text = "\n".join(loading.load(tmp_path).notes)
    assert ("look like those of a table; the bundled trainer learns pictures" in text) == is_doubted


@pytest.mark.parametrize("header", ["label,a,b,c,label", "Label,a,b,c,LABEL"])
def test_two_columns_of_the_name_are_refused(header: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"2 columns called '[Ll]abel'; set label_column.*: 1, 5"):
        load(tmp_path, f"{header}\n{LAST}")
    assert load(tmp_path, f"{header}\n{LAST}", "5") == (7, 9)
    assert load(tmp_path, f"{header.swapcase()}\n{LAST}", "-1") == (7, 9)


@pytest.mark.parametrize("row", ["1,1,7", "cat,cat,7", "cat,dog,7", "1,cat,7"])
@pytest.mark.parametrize("role", ["train", "test"])
def test_two_columns_of_the_name_are_found_before_what_they_do_to_the_others(
    row: str, role: str, tmp_path: Path
) -> None:
    (tmp_path / "rows.csv").write_text(f"label,label,p0\n{row}\n{row}\n")
    classes = (1, 2) if role == "test" else None
    with pytest.raises(UserError, match=r"2 columns called 'label'; set label_column.*: 1, 2"):
        loading.load(tmp_path, Options(role=role, classes=classes))


def test_bad_rows_of_a_later_file_are_counted_and_no_table(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("label,a,b,c,d\ncat,1,2,3,99\ndog,1,2,3,4\n")
    (tmp_path / "b.csv").write_text("label,a,b,c,d\ncat,1,2,3,4#\ndog,1,2,3,5#\n")
    (tmp_path / "c.csv").write_text("label,a,b,c,d\ncat\n")
    loaded = loading.load(tmp_path, Options(bad_record_limit=9))
    assert len(loaded.labels) == 2
    assert len(loaded.rejected) == 3
