from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand
from django.db import connection, transaction

from features import aggregates, retention
from features.timescale import make_hypertables


class Command(BaseCommand):
    help = "Turn the tables of readings into hypertables, once TimescaleDB was added to the database."

    def handle(self, *args: Any, **options: Any) -> None:
        with transaction.atomic():
            made = make_hypertables(connection)
            aggregates.make_objects(connection)
        retention.apply_policies(connection)
        self.stdout.write(
            "The tables are hypertables." if made else "This database has no TimescaleDB; nothing was done."
        )
