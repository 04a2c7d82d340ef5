"""Texts and stored numbers as finite values, or the reason why not."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

LARGEST_VALUE = 1e15  # as the tables keep it
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[+-]?(?:nan|inf|infinity)", re.IGNORECASE)

Floats = NDArray[np.float64]


class Values:
    """Finite numbers of some rows, and what is wrong with the others.

    numbers: float64, shape (n,); NaN where `problems` has the position.
    problems: reasons by position.
    """

    def __init__(self, numbers: Floats, problems: dict[int, str]) -> None:
        self.numbers = numbers
        self.problems = problems
        wrong = ~(np.abs(numbers) <= LARGEST_VALUE)
        for index in np.nonzero(wrong)[0].tolist():
            reason = (
                f"{numbers[index]:g} is beyond {LARGEST_VALUE:g}"
                if np.isfinite(numbers[index])
                else f"{numbers[index]} is not a finite number"
            )
            problems.setdefault(index, reason)
        if wrong.any():
            self.numbers = np.where(wrong, np.nan, numbers)


def parse_numbers(texts: pa.StringArray, decimal: str = ".") -> Values:
    """Texts as numbers, shape (n,), with `decimal` as the decimal mark and no mark of thousands.

    >>> parse_numbers(pa.array(["1,5", "2"]), decimal=",").numbers.tolist()
    [1.5, 2.0]
    >>> parse_numbers(pa.array(["1.234,5", "NaN", ""]), decimal=",").problems[0]
    "'1.234,5' is not a number with the decimal mark ','"
    """
    plain = texts
    if decimal != ".":
        if pc.any(pc.match_substring(texts, ".")).as_py():
            return _parse_each(texts, decimal)
        plain = pc.replace_substring(texts, decimal, ".")
    try:
        numbers = plain.cast(pa.float64())
    except pa.ArrowInvalid:
        return _parse_each(texts, decimal)
    if numbers.null_count:
        return _parse_each(texts, decimal)
    return Values(numbers.to_numpy(), {})


def from_arrow_numbers(column: pa.Array) -> Values:
    """Numbers that a file stores as numbers; a null is no value."""
    nulls = np.nonzero(column.is_null().to_numpy(zero_copy_only=False))[0].tolist()
    numbers = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return Values(numbers, dict.fromkeys(nulls, "no value"))


def _parse_each(texts: pa.StringArray, decimal: str) -> Values:
    """Row by row, where at least one text is not a plain number."""
    numbers = np.full(len(texts), np.nan)
    problems: dict[int, str] = {}
    for index, text in enumerate(texts.to_pylist()):
        stripped = (text or "").strip()
        plain = stripped
        if decimal != ".":
            plain = stripped.replace(".", "?").replace(decimal, ".")
        if _NUMBER.fullmatch(plain):
            numbers[index] = float(plain)
        elif not stripped:
            problems[index] = "no value"
        elif _NOT_FINITE.fullmatch(stripped):
            problems[index] = f"{stripped} is not a finite number"
        else:
            problems[index] = f"{stripped[:40]!r} is not a number with the decimal mark {decimal!r}"
    return Values(numbers, problems)
