"""For the serializers of requests that come all day: DRF copies every field for every request, which takes longer than
looking at what they hold. Here a thread makes them once and lends them to one serializer at a time."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from rest_framework import serializers

if TYPE_CHECKING:
    _Serializer = serializers.Serializer[Any]
else:
    _Serializer = object


class KeptFields(_Serializer):
    # Stands before `Serializer` among the bases. A docstring here would describe every such request in the API's document.

    _lent = threading.local()

    def run_validation(self, data: Any = serializers.empty) -> Any:
        kept: dict[str, Any] = vars(KeptFields._lent)
        name = f"{type(self).__module__}.{type(self).__qualname__}"
        fields = kept.pop(name, None)
        if fields is None:
            fields = self.fields
        else:
            self.__dict__["fields"] = fields  # where the cached property looks
        for field in fields.values():
            field.parent = self  # through it a field finds the request
        try:
            return super().run_validation(data)
        finally:
            for field in fields.values():
                field.parent = None
            del self.__dict__["fields"]
            kept[name] = fields
