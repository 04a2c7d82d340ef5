"""`manage.py prepare`: what every start and every deployment runs first. Running it again changes nothing."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandParser
from django.db import connection

from omarino.models import User
from omarino.permissions import ROLES

PREPARE_LOCK = 803_001  # any number: two starts at once prepare one after the other


class Command(BaseCommand):
    help = "Apply migrations, collect static files, make the roles; with --demo, an administrator and the sample site."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--demo", action="store_true", help="development only")

    def handle(self, *args: Any, **options: Any) -> None:
        with connection.cursor() as cursor:
            # A migration, or the start before us, may take its time.
            cursor.execute("SET statement_timeout = 0")
            cursor.execute("SELECT pg_advisory_lock(%s)", [PREPARE_LOCK])
        call_command("migrate", interactive=False, verbosity=0)
        call_command("collectstatic", interactive=False, verbosity=0)
        call_command("check", databases=["default"])
        for role in sorted(ROLES):
            Group.objects.get_or_create(name=role)
        if options["demo"] and settings.DEVELOPMENT:
            self._first_start()

    def _first_start(self) -> None:
        """The sample site, then its administrator, whose row says that the site is there as well."""
        if not User.objects.filter(username="admin").exists():
            call_command("load_sample_site")
            User.objects.create_superuser(
                "admin", password=settings.DEVELOPMENT_ADMIN_PASSWORD, tenant_id="demo"
            )
