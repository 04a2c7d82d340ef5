from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from omarino.errors import Outage
from registry import sweep


class Command(BaseCommand):
    help = (
        "Hold the rows of models and their stored files against each other, digests included. Exits with 1 when "
        "something is missing, changed or left over. Files younger than a quarter of an hour count as underway."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--delete-orphans", action="store_true", help="Delete files that belong to no row."
        )
        parser.add_argument(
            "--quick", action="store_true", help="Do not read the artifacts for their digests."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            found = sweep.look(now=timezone.now(), verify=not options["quick"])
            deleted = set(sweep.delete_orphans(found.orphans)) if options["delete_orphans"] else set()
        except Outage as fault:
            raise CommandError(str(fault)) from fault
        left = [name for name in found.orphans if name not in deleted]
        for word, names in (
            ("missing", found.missing),
            ("changed", found.corrupt),
            ("deleted", sorted(deleted)),
            ("without a row", left),
        ):
            for name in names:
                self.stdout.write(f"{word}: {name}")
        if found.missing or found.corrupt or left:
            raise CommandError(
                f"{len(found.missing)} missing, {len(found.corrupt)} changed, {len(left)} without a row."
            )
        self.stdout.write("Every row has its files, and every file its row.")
