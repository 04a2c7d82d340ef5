from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from registry.models import ModelVersion, Stage


class Command(BaseCommand):
    help = "List versions of models, newest first."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--tenant", required=True)
        parser.add_argument("--name")
        parser.add_argument("--stage", choices=Stage.values)

    def handle(self, *args: Any, **options: Any) -> None:
        wanted = {"model__name": options["name"], "stage": options["stage"]}
        rows = ModelVersion.objects.for_tenant(options["tenant"]).select_related("model")
        rows = rows.filter(**{name: value for name, value in wanted.items() if value})
        table = [
            (
                row.model.name,
                row.version,
                row.stage,
                row.format or "no artifact",
                " ".join(
                    f"{name}={value:g}"
                    for name, value in row.metrics.items()
                    if isinstance(value, int | float)
                ),
                f"{row.uploaded_at:%Y-%m-%d %H:%M}",
            )
            for row in rows
        ]
        widths = [max(len(line[column]) for line in table) for column in range(5)] if table else []
        for line in table:
            self.stdout.write(
                "  ".join([*(cell.ljust(width) for cell, width in zip(line, widths, strict=False)), line[5]])
            )
        if not table:
            self.stdout.write("None.")
