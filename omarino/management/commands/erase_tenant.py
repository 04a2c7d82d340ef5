"""`manage.py erase_tenant TENANT --confirm TENANT`: delete all that is kept of a tenant, and prove it."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from kombu.exceptions import OperationalError as BrokerError
from redis.exceptions import RedisError

from omarino.authentication import TENANT_ID
from omarino.tenant_erasure import Erasure, erase_tenant, search


class Command(BaseCommand):
    help = (
        "Delete a tenant's rows, files, cached values and messages in the queue. Take away its tokens first, and stop "
        "what writes for it. Without --confirm it only counts. Should it break off, run it again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("tenant")
        parser.add_argument("--confirm", metavar="TENANT", help="The tenant's name once more.")

    def handle(self, *args: Any, **options: Any) -> None:
        tenant_id = options["tenant"]
        if not TENANT_ID.fullmatch(tenant_id):
            raise CommandError(f"{tenant_id!r} is no tenant: at most 64 letters, digits or . _ -")
        try:
            self._erase(tenant_id, options["confirm"])
        except (BotoCoreError, ClientError, BrokerError, RedisError, OSError) as fault:
            raise CommandError(f"It broke off: {fault}. Run it again to delete what is left.") from fault

    def _erase(self, tenant_id: str, confirm: str | None) -> None:
        found, _ = search(
            tenant_id
        )  # asks storage and cache, so that one of them being away is noticed first
        if not found:
            raise CommandError(f"Nothing is kept of a tenant {tenant_id!r}.")
        if confirm is None:
            self._tell(found)
            raise CommandError(f"Nothing was deleted. To delete all of it, add --confirm {tenant_id}")
        if confirm != tenant_id:
            raise CommandError(f"--confirm says {confirm!r}, not {tenant_id!r}. Nothing was deleted.")
        done = erase_tenant(tenant_id=tenant_id, on_step=lambda step: self.stdout.write(f"- {step}"))
        self._prove(tenant_id, done)

    def _prove(self, tenant_id: str, done: Erasure) -> None:
        self.stdout.write(f"Deleted of {tenant_id}:")
        self._tell(
            done.rows | {f"files in {alias}": count for alias, count in done.files.items()} | done.others
        )
        self.stdout.write("Kept, to prove that nothing else was taken away:")
        self._tell(done.kept)
        if done.left:
            self.stdout.write("Found afterwards:")
            self._tell(done.left)
            raise CommandError("Somebody still writes for it. Stop that, and run this again.")
        self.stdout.write("Found afterwards: nothing.")
        self.stdout.write(
            f"Searched: the files of every storage, the cache, and {len(done.searched)} tables, materialized views and "
            f"aggregates: {', '.join(done.searched)}."
        )

    def _tell(self, counts: dict[str, int]) -> None:
        for name, count in counts.items():
            self.stdout.write(f"{count:>12,}  {name}")
