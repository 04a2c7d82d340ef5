"""`manage.py reseal_secrets`: seal anew by SECRET_KEY what an older key sealed, so that the older one can go."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import models, transaction

from omarino import audit
from omarino.sealing import SealBroken, is_under_the_newest_key, seal, sealed_fields, unseal


class Command(BaseCommand):
    help = (
        "Seal anew by SECRET_KEY what a key of SECRET_KEY_FALLBACKS sealed. Run it once every process knows the new "
        "key; afterwards the older one may be left out. Again changes nothing."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        moved = lost = 0
        for model, field in sealed_fields():
            rows = model._default_manager
            for pk, sealed in rows.values_list("pk", field.attname).iterator(chunk_size=500):
                if is_under_the_newest_key(sealed):
                    continue
                try:
                    anew = seal(unseal(sealed))
                except SealBroken:
                    lost += 1
                    continue
                moved += _move(model, pk, field.attname, sealed, anew)
        self.stdout.write(f"{moved} sealed anew.")
        if lost:
            raise CommandError(
                f"{lost} cannot be read by any key. Name the key they were sealed by in SECRET_KEY_FALLBACKS, and run "
                "this again; without it, watches must be set up anew."
            )


@transaction.atomic
def _move(model: type[models.Model], pk: Any, column: str, sealed: str, anew: str) -> bool:
    """False where somebody was faster."""
    found = model._default_manager.select_for_update().filter(pk=pk, **{column: sealed}).first()
    if found is None:
        return False
    was = audit.digest(found)
    setattr(found, column, anew)
    found.save(update_fields=[column])
    kind, owner = str(model._meta.verbose_name), getattr(found, "tenant_id", "")
    audit.record(owner, "resealed", kind, pk, before=was, after=found, column=column)
    return True
