"""What a body of JSON may be, and that reading it takes time in proportion to its size."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omarino.errors import MalformedBody
from omarino.strict_json import MAX_DEPTH, parse_json

REFUSED: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "not JSON"),
    "spaces": (b"  \n", "not JSON"),
    "a word": (b"hello", "not JSON"),
    "a second document": (b"{} {}", "not JSON"),
    "a comma too many": (b'{"a": 1,}', "not JSON"),
    "a comment": (b"{} // no", "not JSON"),
    "single quotes": (b"{'a': 1}", "not JSON"),
    "a leading zero": (b"[01]", "not JSON"),
    "an open string": (b'["a', "not JSON"),
    "an unknown escape": (b'["\\x41"]', "not JSON"),
    "a line end in a string": (b'["a\nb"]', "not JSON"),
    "a byte order mark": (b"\xef\xbb\xbf{}", "BOM"),
    "UTF-16": ('{"a": 1}'.encode("utf-16"), "not UTF-8"),
    "latin-1": ('["é"]'.encode("latin-1"), "not UTF-8"),
    "an overlong encoding": (b'["\xc0\xaf"]', "not UTF-8"),
    "an encoded surrogate": (b'["\xed\xa0\x80"]', "not UTF-8"),
    "NaN": (b'{"a": NaN}', "NaN is not JSON; write null"),
    "Infinity": (b"[Infinity]", "Infinity is not JSON; write null"),
    "-Infinity": (b"[-Infinity]", "Infinity is not JSON; write null"),
    "1e999": (b"[1e999]", "too large"),
    "-1e999": (b"[-1e999]", "too large"),
    "a number of 400 digits": (b"[" + b"9" * 400 + b"]", "too large"),
    "an exponent of many digits": (b"[1e" + b"9" * 100_000 + b"]", "too large"),
    "a repeated name": (b'{"a": 1, "a": 1}', "the name 'a' appears twice"),
    "a repeated name below": (b'[{"b": [{"c": 0, "d": "x", "c": "y"}]}]', "the name 'c' appears twice"),
    "a name repeated in another spelling": (b'{"a": 1, "\\u0061": 2}', "the name 'a' appears twice"),
    "a repeated empty name": (b'{"": 1, "": 2}', "the name '' appears twice"),
    "a repeated name with a quote": (b'{"\\"": 1, "\\"": 2}', "appears twice"),
    "a repeated name that hides depth": (
        b'{"a":' + b"[" * 1000 + b"]" * 1000 + b',"a":1}',
        "nested more than 40",
    ),
    "a raw NUL": (b'["\x00"]', "not JSON"),
    "an escaped NUL": (b'["a\\u0000b"]', "NUL"),
    "a NUL after an escaped backslash": (b'["\\\\\\u0000"]', "NUL"),
    "a NUL in a name": (b'{"\\u0000": 1}', "NUL"),
    "half a surrogate pair": (b'["\\ud83d"]', "surrogate"),
    "the other half": (b'["\\ude00"]', "surrogate"),
    "a pair the wrong way round": (b'["\\ude00\\ud83d"]', "surrogate"),
    "41 levels of lists": (b"[" * 41 + b"]" * 41, "nested more than 40"),
    "41 levels of objects": (b'{"a":' * 41 + b"1" + b"}" * 41, "nested more than 40"),
    "41 levels beside a short branch": (b"[1," + b"[" * 40 + b"]" * 40 + b"]", "nested more than 40"),
    "ten million brackets": (b"[" * 10_000_000, "nested more than 40"),
    "ten million brackets of both kinds": (b'[{"a":' * 1_666_666, "nested more than 40"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_it_refuses(case: str) -> None:
    body, reason = REFUSED[case]

    with pytest.raises(MalformedBody, match=reason) as refusal:
        parse_json(body)

    assert len(str(refusal.value)) < 250


TAKEN: dict[str, tuple[bytes, Any]] = {
    "a number alone": (b"1", 1),
    "40 levels": (b"[" * 40 + b"]" * 40, json.loads("[" * 40 + "]" * 40)),
    "brackets in a string": (b'["' + b"[{" * 100 + b'"]', ["[{" * 100]),
    "quotes in a string": (b'["\\"", "\\\\", "\\\\\\""]', ['"', "\\", '\\"']),
    "text about a NUL": (b'["\\\\u0000"]', ["\\u0000"]),
    "a whole surrogate pair": (b'["\\ud83d\\ude00"]', ["\U0001f600"]),
    "the same name in two objects": (b'[{"a": 1}, {"a": {"a": "a"}}]', [{"a": 1}, {"a": {"a": "a"}}]),
    "the same text as name and value": (b'{"a": "a", "b": "a"}', {"a": "a", "b": "a"}),
    "a colon and a comma in a name": (b'{"a\\":1,\\"a": 1}', {'a":1,"a': 1}),
    "a whole number of 64 bits": (b"[18446744073709551615]", [2**64 - 1]),
    "a longer one as a float": (b"[100000000000000000000]", [1e20]),
    "the least number": (b"[5e-324, 1e-999]", [5e-324, 0.0]),
    "the greatest": (b"[1.7976931348623157e308]", [1.7976931348623157e308]),
}


@pytest.mark.parametrize("case", TAKEN)
def test_it_takes(case: str) -> None:
    body, value = TAKEN[case]

    assert parse_json(body) == value


def test_a_negative_zero_stays_negative() -> None:
    assert math.copysign(1, parse_json(b"-0.0")) == -1


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXTS, inner, max_size=5),
    max_leaves=30,
)


def as_documented(digits: str) -> float:
    return int(digits) if -(2**63) <= int(digits) < 2**64 else float(digits)


def same(one: Any, other: Any) -> bool:
    return repr(one) == repr(other)  # 1 is not 1.0, -0.0 is not 0.0, and the order of names is kept


@given(VALUES, st.booleans())
@settings(max_examples=150, deadline=None)
def test_what_the_standard_library_writes_is_read_back(value: Any, ascii_only: bool) -> None:
    assert same(parse_json(json.dumps(value, ensure_ascii=ascii_only).encode()), value)


@given(st.text('[]{}",:\\ u0a1.eE-+ntN\x00\ud800é', max_size=30) | st.text(max_size=10))
@settings(max_examples=400, deadline=None)
def test_it_never_reads_more_than_the_standard_library_nor_reads_it_differently(text: str) -> None:
    body = text.encode("utf-8", "surrogatepass")
    try:
        value = parse_json(body)
    except MalformedBody:
        return

    assert same(value, json.loads(body, parse_int=as_documented))


@given(VALUES, TEXTS, VALUES)
@settings(max_examples=100, deadline=None)
def test_a_name_said_twice_is_found_wherever_it_stands(outer: Any, name: str, inner: Any) -> None:
    member = f"{json.dumps(name)}: {json.dumps(inner)}"
    text = json.dumps([outer, {"here": 0}]).replace('"here": 0', f"{member}, {member}")

    with pytest.raises(MalformedBody, match="appears twice"):
        parse_json(text.encode())


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "body",
    [
        b'"' + b'\\"' * 2_000_000,
        b'"' + b"\\\\" * 2_000_000 + b'"',
        b'"' * 1_000_001,
        b"[" + b"{}," * 1_000_000 + b"{}]",
        b"{" + b",".join(b'"%d":"%d"' % (n, n) for n in range(300_000)) + b',"0":1}',
    ],
    ids=["open string of quotes", "backslashes", "quotes", "empty objects", "many names, one twice"],
)
def test_no_body_makes_it_slow(body: bytes) -> None:
    """A pattern that starts again at every quote would take hours for the first of these."""
    with suppress(MalformedBody):
        parse_json(body)


def test_depth_counts_levels_not_brackets() -> None:
    assert len(parse_json(b"[" + b",".join([b"[]"] * 1000) + b"]")) == 1000
    assert MAX_DEPTH == 40
