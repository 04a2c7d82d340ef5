"""Readers of environment variables that fail loudly, all at once, and document what they read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit


def parts(text: str) -> list[str]:
    """What stands between commas.

    >>> parts("a, b,,")
    ['a', 'b']
    """
    return [part.strip() for part in text.split(",") if part.strip()]


@dataclass(frozen=True, slots=True)
class Variable:
    """One row of the table in docs/configuration.md."""

    group: str
    name: str
    default: str
    meaning: str


class Environment:
    """Reads variables; collects what is wrong so that one start names every bad one.

    An empty value counts as unset: that is what compose files write for "not used".

    >>> env = Environment({"PORT": "eight"})
    >>> _ = env.integer("PORT", default=8003, minimum=1, maximum=65535, meaning="Port of the web server")
    >>> env.problems
    ["PORT must be a whole number from 1 to 65535, not 'eight'."]
    """

    def __init__(self, source: Mapping[str, str]) -> None:
        self.source = source
        self.problems: list[str] = []
        self.variables: list[Variable] = []
        self._group = ""

    def group(self, title: str) -> None:
        """Begin a group; the variables read from here on stand under this title."""
        self._group = title

    def text(
        self, name: str, *, default: str = "", shown: str = "", meaning: str, choices: Sequence[str] = ()
    ) -> str:
        """`shown` is what the table says of a default that depends on the machine or on another variable."""
        value = self._read(name, shown or default, meaning + (f" ({', '.join(choices)})" if choices else ""))
        if value is None:
            return default
        if choices and value not in choices:
            self.problems.append(f"{name} must be one of {', '.join(choices)}, not {value[:50]!r}.")
            return default
        return value

    def secret(self, name: str, *, meaning: str) -> str:
        """Like `text` without a default. A bad secret is never repeated in a message."""
        return self._read(name, "", meaning) or ""

    def integer(
        self, name: str, *, default: int, meaning: str, minimum: int = 0, maximum: int = 2**31 - 1
    ) -> int:
        value = self._read(name, str(default), meaning)
        if value is None:
            return default
        if not (value.isascii() and value.isdigit() and len(value) < 20 and minimum <= int(value) <= maximum):
            self.problems.append(
                f"{name} must be a whole number from {minimum} to {maximum}, not {value[:50]!r}."
            )
            return default
        return int(value)

    def number(
        self, name: str, *, default: float, meaning: str, minimum: float = 0.0, maximum: float = 1e12
    ) -> float:
        value = self._read(name, str(default), meaning)
        if value is None:
            return default
        try:
            number = float(value)
        except ValueError:
            number = float("nan")
        if not minimum <= number <= maximum:
            self.problems.append(f"{name} must be a number from {minimum} to {maximum}, not {value[:50]!r}.")
            return default
        return number

    def flag(self, name: str, *, default: bool, shown: str = "", meaning: str) -> bool:
        value = self._read(name, shown or str(default).lower(), meaning + " (true, false)")
        if value is None:
            return default
        if value.lower() not in ("true", "false"):
            self.problems.append(f"{name} must be true or false, not {value[:50]!r}.")
            return default
        return value.lower() == "true"

    def url(self, name: str, *, meaning: str, schemes: Sequence[str]) -> str:
        """A URL or the empty string. It may hold a password, so a bad one is not repeated."""
        value = self._read(name, "", meaning)
        if value is None:
            return ""
        try:
            parts = urlsplit(value)
            local = parts.scheme.startswith("postgres")  # postgresql:///name is a socket of this machine
            ok = parts.scheme in schemes and "://" in value and (local or bool(parts.hostname))
            _ = parts.port
        except ValueError:
            ok = False
        if not ok:
            self.problems.append(
                f"{name} must be a URL that begins with {' or '.join(s + '://' for s in schemes)}."
            )
            return ""
        return value

    def require(self, condition: bool, problem: str) -> None:
        """Note a rule between variables that does not hold."""
        if not condition and problem not in self.problems:
            self.problems.append(problem)

    def _read(self, name: str, default: str, meaning: str) -> str | None:
        self.variables.append(Variable(self._group, name, default, meaning))
        value = self.source.get(name, "").strip()
        return value or None
