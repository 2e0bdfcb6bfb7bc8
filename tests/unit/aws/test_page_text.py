"""What a page of a listing says: the pattern says what the parser says, or leaves the page to it."""

from collections.abc import Sequence
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.aws.page_text import FIELDS, PageText, parsed_text_of, plain_text_of, text_of

SPACE = ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
DECLARED = '<?xml version="1.0" encoding="UTF-8"?>\n'
OBJECT = (
    "<Contents><Key>a%20b</Key><LastModified>2026-11-26T04:00:00.000Z</LastModified><ETag>&quot;abc&quot;</ETag>"
    "<ChecksumAlgorithm>CRC32</ChecksumAlgorithm><ChecksumType>FULL_OBJECT</ChecksumType>"
    "<Size>12</Size><StorageClass>STANDARD</StorageClass></Contents>"
)
HEAD = "<Name>b</Name><Prefix/><KeyCount>1</KeyCount><EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>"
READ = ("a%20b", "2026-11-26T04:00:00.000Z", '"abc"', "12", "STANDARD")


def page(*inner: str, declared: str = DECLARED, space: str = SPACE) -> bytes:
    return f"{declared}<ListBucketResult{space}>{''.join(inner)}</ListBucketResult>".encode()


def parsed(content: bytes) -> PageText | None:
    try:
        return parsed_text_of(content)
    except ValueError:
        return None


@pytest.mark.parametrize(
    "content",
    [
        page(HEAD, OBJECT * 3),
        page(HEAD, OBJECT, declared=""),
        page(HEAD, OBJECT, space=""),
        page(HEAD, OBJECT, declared="<?xml version='1.0' encoding='utf-8'?>\n"),
        page(OBJECT, HEAD),
        page(HEAD, OBJECT) + b"\n",
    ],
)
def test_pages_as_s3_writes_them_need_no_parser(content: bytes) -> None:
    plain = plain_text_of(content)
    assert plain is not None
    assert plain == parsed_text_of(content)
    assert set(plain.objects) == {READ}
    assert plain.elements["Prefix"] == ""


def test_a_page_of_nothing_needs_no_parser() -> None:
    assert plain_text_of(page(HEAD)) == parsed_text_of(page(HEAD))
    assert text_of(page(HEAD)).objects == []


@pytest.mark.parametrize(
    "content",
    [
        page(HEAD, OBJECT.replace("a%20b", "a&amp;b")),
        page(HEAD, OBJECT.replace("a%20b", "&#97;")),
        page(HEAD, OBJECT.replace("a%20b", "<![CDATA[<Key>]]>")),
        page(HEAD, OBJECT.replace("a%20b", "a<!-- b -->")),
        page(HEAD, OBJECT.replace("a%20b", "ä")),
        page(HEAD, OBJECT.replace("a%20b", "a\nb")),
        page(HEAD, OBJECT.replace("<Key>", '<Key lang="en">')),
        page(HEAD, OBJECT.replace("<Key>", '<Key xmlns="other">')),
        page(HEAD, OBJECT.replace("<Key>a%20b</Key>", "<Key/>")),
        page(HEAD, OBJECT.replace("<Size>", "<Owner><ID>1</ID></Owner><Size>")),
        page(HEAD, OBJECT.replace("<Size>", " <Size>")),
        page(HEAD, OBJECT, "<Contents/>"),
        page(HEAD, OBJECT, "<CommonPrefixes><Prefix>p</Prefix></CommonPrefixes>", OBJECT),
        page(HEAD, OBJECT, HEAD, OBJECT),
        page(HEAD, f"<!-- {OBJECT} -->"),
        page(HEAD, OBJECT, space=' xmlns:s="http://s3.amazonaws.com/doc/2006-03-01/"'),
        page(HEAD, OBJECT, declared='<?xml version="1.0" encoding="latin-1"?>'),
        page(HEAD, OBJECT, declared='<!DOCTYPE ListBucketResult [<!ENTITY e "x">]>'),
    ],
)
def test_what_is_written_otherwise_is_the_parsers(content: bytes) -> None:
    assert plain_text_of(content) is None
    assert text_of(content) == parsed_text_of(content)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html></html>",
        page(HEAD, OBJECT)[:-1],
        page(HEAD, OBJECT) + b"<More/>",
        page(HEAD, OBJECT) + b"\v",  # white space of Python's, none of XML's
        page(HEAD, OBJECT, declared='<?xml version="1.0" encoding="UTF-8"?>\f'),
        page(HEAD, OBJECT.replace("</Key>", "</Size>")),
        page(HEAD, OBJECT.replace("a%20b", "a]]>b")),
        page(HEAD, OBJECT.replace("a%20b", "a\0b")),
        page(HEAD, OBJECT.replace("a%20b", "a&quot b")),
        page(HEAD, OBJECT, declared='<?xml version="1.0" encoding="none"?>'),
        page(HEAD, OBJECT, declared='<?xml version="1.0" encoding="utf-16"?>'),
        page(HEAD, OBJECT, declared="<?xml version='1.0\" encoding='utf-8'?>"),
    ],
)
def test_what_is_no_page_is_an_error(content: bytes) -> None:
    assert plain_text_of(content) is None
    with pytest.raises(ValueError, match=r"no XML|not S3's"):
        text_of(content)


def test_a_hostile_page_takes_no_longer_than_another() -> None:
    """Elements that two branches of the pattern could take: to try all ways of 2 to the power of 10,000 never ends."""
    assert plain_text_of(page(HEAD, "<Contents>" + "<Key>a</Key>" * 10_000 + "<b></Contents>")) is None
    assert plain_text_of(page("<a></a>" * 10_000 + "<b>")) is None


TEXTS = st.text(st.sampled_from('ab%2+/ "&<>]é\n'), max_size=4).map(escape) | st.sampled_from(
    ["&quot;e&quot;", "<b>c</b>", "<!-- c -->", "<![CDATA[c]]>", "&amp", "]]>", "url", "true"]
)
NAMES = st.sampled_from([*FIELDS, "Contents", "ChecksumType", "EncodingType", "IsTruncated", "x:y", "Prefix"])


@st.composite
def elements(draw: st.DrawFn, texts: st.SearchStrategy[str] = TEXTS) -> str:
    name, text = draw(NAMES), draw(texts)
    forms = [f"<{name}>{text}</{name}>"] * 6 + [f"<{name}/>", f"<{name} a='b'>{text}</{name}>", f"<{name}>{text}"]
    return draw(st.sampled_from(forms))


def lists_of(items: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.lists(items, max_size=5).map("".join)


@given(
    inner=st.lists(
        elements() | st.just(OBJECT) | lists_of(elements()).map(lambda text: f"<Contents>{text}</Contents>"), max_size=4
    ),
    declared=st.sampled_from([DECLARED, "", "<?xml version='1.0' encoding='utf-8'?>", " ", "<!-- c -->"]),
    space=st.sampled_from([SPACE, "", ' xmlns="other"', ' a="b"']),
)
def test_the_pattern_says_what_the_parser_says(inner: Sequence[str], declared: str, space: str) -> None:
    content = page(*inner, declared=declared, space=space)
    plain = plain_text_of(content)
    assert plain is None or plain == parsed(content)


@given(
    lists_of(elements(st.text(st.sampled_from("ab%2+/ "), max_size=4))),
    st.integers(0, 3),
    st.lists(st.tuples(st.integers(0, 600), st.sampled_from("<>&;/ \n\0aé")), max_size=2),
)
def test_a_changed_character_is_never_read_otherwise(head: str, count: int, changes: list[tuple[int, str]]) -> None:
    text = page(head, OBJECT * count).decode()
    for at, character in changes:
        text = text[:at] + character + text[at + 1 :]
    plain = plain_text_of(text.encode())
    assert plain is None or plain == parsed(text.encode())
