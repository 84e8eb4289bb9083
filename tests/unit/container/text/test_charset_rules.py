"""Which encodings are charsets: a rule, and no list of bad ones."""

import encodings

import pytest

from container.text.charset_rules import is_charset


@pytest.mark.parametrize(
    "name",
    [
        *("utf-8", "UTF8", "utf-8-sig", "utf-16", "utf-16-le", "utf_32", "us-ascii", "latin-1"),
        *("iso-8859-15", "windows-1252", "koi8-u", "shift_jis", "gb18030", "euc-kr", "iso-2022-jp"),
        *("cp037", "big5", "macroman"),
    ],
)
def test_a_charset_of_texts_is_one(name: str) -> None:
    assert is_charset(name)


@pytest.mark.parametrize(
    "name",
    [
        *("utf-7", "punycode", "idna", "unicode_escape", "raw-unicode-escape", "hz", "undefined"),
        *("rot13", "base64", "hex", "zlib", "bz2", "quopri", "uu", "aliases", "", "é", "a" * 9999),
    ],
)
def test_what_escapes_or_packs_is_no_charset(name: str) -> None:
    assert not is_charset(name)


def test_an_unknown_name_is_not_looked_up_since_python_would_keep_it() -> None:
    assert not is_charset("no-such-charset-1")
    assert "no_such_charset_1" not in encodings._cache  # type: ignore[attr-defined] # noqa: SLF001
