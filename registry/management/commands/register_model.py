from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from rest_framework import serializers

from omarino.authentication import TENANT_ID
from omarino.errors import HubError, Outage
from registry.actions import register_version
from registry.artifacts import received
from registry.models import ModelType, Stage, validate_name, validate_version
from registry.operators import chunks_of, operator, skops_from_pickle
from registry.serializers import MetadataField, MetricsField, message_of


class _Said(serializers.Serializer[Any]):
    model_name = serializers.CharField(max_length=128, validators=[validate_name])
    version = serializers.CharField(max_length=50, validators=[validate_version])
    metadata = MetadataField()
    metrics = MetricsField()


class Command(BaseCommand):
    help = (
        "Register a model from a file. Its content decides the format; it is opened in a process apart first."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--tenant", required=True)
        parser.add_argument("--name", required=True, help="Of the model: letters, digits, - and _.")
        parser.add_argument("--version", required=True, dest="version_name", help="Such as v1.2.3.")
        parser.add_argument("--type", choices=ModelType.values, default="")
        parser.add_argument("--framework", default="", help="The format of the file, when not given.")
        parser.add_argument("--algorithm", default="")
        parser.add_argument("--stage", choices=Stage.values, default=Stage.STAGING)
        parser.add_argument(
            "--features", default="", help="Names, separated by commas, in the model's order."
        )
        parser.add_argument(
            "--metric", action="append", default=[], metavar="NAME=NUMBER", help="Repeat it for each."
        )
        parser.add_argument(
            "--metadata", type=Path, metavar="FILE", help="A JSON object with whatever else is known."
        )
        parser.add_argument(
            "--trust-pickle",
            action="store_true",
            help="The file is a pickle or joblib file that you made yourself: loading it runs what is in it. It is "
            "converted to skops, and that is registered.",
        )

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """`resolve`, since Django's own --version would print its number."""
        return super().create_parser(prog_name, subcommand, conflict_handler="resolve", **kwargs)

    def handle(self, *args: Any, **options: Any) -> None:
        tenant_id, path = options["tenant"], options["file"]
        if not TENANT_ID.fullmatch(tenant_id):
            raise CommandError(f"{tenant_id!r} is no tenant: at most 64 letters, digits or . _ -")
        said = self._said(options)
        try:
            content = [skops_from_pickle(path)] if options["trust_pickle"] else chunks_of(path)
            with received(content) as upload:
                version = register_version(
                    tenant_id=tenant_id,
                    by=operator(tenant_id),
                    model_type=options["type"],
                    stage=options["stage"],
                    upload=upload,
                    **said,
                )
        except (HubError, Outage) as refusal:
            raise CommandError(str(refusal)) from refusal
        except OSError as fault:
            raise CommandError(f"{path}: {fault.strerror}.") from fault
        self.stdout.write(f"{version} ({version.stage}), {version.size_bytes:,} bytes")
        self.stdout.write(message_of(version))

    def _said(self, options: dict[str, Any]) -> dict[str, Any]:
        metadata = self._json(options["metadata"]) if options["metadata"] else {}
        framework = options["framework"] or metadata.get("framework")
        given = {
            "framework": framework or "found by opening it",
            **({"algorithm": options["algorithm"]} if options["algorithm"] else {}),
            **({"feature_names": options["features"].split(",")} if options["features"] else {}),
        }
        said = _Said(
            data={
                "model_name": options["name"],
                "version": options["version_name"],
                "metadata": {**metadata, **given},
                "metrics": self._metrics(options["metric"]),
            }
        )
        if not said.is_valid():
            wrong = (f"{name}: {json.dumps(texts, default=str)}" for name, texts in said.errors.items())
            raise CommandError(" ".join(wrong))
        if not framework:
            del said.validated_data["metadata"]["framework"]
        return dict(said.validated_data)

    def _metrics(self, given: Sequence[str]) -> dict[str, float]:
        try:
            return {name: float(value) for name, value in (pair.split("=") for pair in given)}
        except ValueError:
            raise CommandError("--metric is NAME=NUMBER, such as --metric mae=1.5") from None

    def _json(self, path: Path) -> dict[str, Any]:
        try:
            said = json.loads(path.read_text())
        except (OSError, ValueError) as fault:
            raise CommandError(f"{path}: {fault}") from fault
        if not isinstance(said, dict):
            raise CommandError(f"{path} holds no JSON object.")
        return said
