"""Numbers in a body: a text that looks like a number is none, nor is yes or no. In an address all is text."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers


class WholeNumberField(serializers.IntegerField):
    """A whole number in a body."""

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, str):
            self.fail("invalid")
        return int(super().to_internal_value(data))


class NumberField(serializers.FloatField):
    """A number in a body."""

    def to_internal_value(self, data: Any) -> float:
        if isinstance(data, str | bool):
            self.fail("invalid")
        return float(super().to_internal_value(data))
