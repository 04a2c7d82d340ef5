"""`manage.py verify_audit`: is the audit as it was written?"""

from __future__ import annotations

from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from omarino.audit_chain import verify


class Command(BaseCommand):
    help = (
        "Follow the chain of each tenant's audit from its first link, hold every record against its digest, and the "
        "ends against the newest anchors. Names the first broken link of each tenant, and exits with 1 then."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--tenant", help="Only this one.")

    def handle(self, *args: Any, **options: Any) -> None:
        broken = links = 0
        try:
            for found in verify(options["tenant"]):
                name = found.tenant_id or "(no tenant)"
                links += found.links
                if found.fault:
                    broken += 1
                    self.stdout.write(f"{name}: BROKEN: {found.fault}.")
                else:
                    erased = f", {found.erased} of them erased" if found.erased else ""
                    self.stdout.write(f"{name}: {found.links} links{erased}, the last {found.head.digest}")
        except (BotoCoreError, ClientError, OSError) as fault:
            raise CommandError(f"The anchors cannot be read from the storage: {fault}.") from fault
        if broken:
            raise CommandError(f"{broken} broken.")
        self.stdout.write(f"{links} links, all whole.")
