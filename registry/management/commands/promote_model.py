from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from omarino.errors import HubError
from registry.actions import promote_version
from registry.models import Reference, Stage
from registry.operators import operator


class Command(BaseCommand):
    help = "Move a version to another stage, by the same rules as the API."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("model_id", help="tenant:model:version")
        parser.add_argument("--to", choices=Stage.values, default=Stage.PRODUCTION)
        parser.add_argument("--reason", default="")

    def handle(self, *args: Any, **options: Any) -> None:
        reference = Reference.parse(options["model_id"])
        if reference is None or not reference.version:
            raise CommandError(f"{options['model_id']!r} is no tenant:model:version.")
        try:
            version, noted = promote_version(
                tenant_id=reference.tenant_id,
                reference=reference,
                target_stage=options["to"],
                by=operator(reference.tenant_id),
                reason=options["reason"],
            )
        except HubError as refusal:
            raise CommandError(str(refusal)) from refusal
        replaced = f", in the place of {noted.incumbent}" if noted.incumbent else ""
        self.stdout.write(f"{version}: {noted.from_stage} -> {noted.to_stage}{replaced}")
