"""The names of media types."""

import pytest

from container.serving.bodies import media_types

OFFERED = ("application/json", "text/csv", "application/jsonlines")


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("application/x-ndjson", "application/jsonlines"),
        ("application/jsonl;q=0.5, text/csv;q=0.4", "application/jsonlines"),
        ("application/jsonlines;q=0.1, text/csv;q=0.4", "text/csv"),
        ("Application/X-JSONLines", "application/jsonlines"),
        ("", "application/json"),
        ("application/x-ndjson;q=0, */*", "application/json"),
        ("image/png", None),
    ],
)
def test_answer_is_chosen_under_any_of_its_names(accept: str, chosen: str | None) -> None:
    assert media_types.choose(accept, OFFERED) == chosen


def test_content_type_is_parsed_under_our_name_with_its_parameters() -> None:
    parsed = media_types.parse("Application/JSONL; Charset=utf-8")
    assert parsed == ("application/jsonlines", {"charset": "utf-8"})
    assert not media_types.ALIASES.keys() & set(media_types.ALIASES.values())
