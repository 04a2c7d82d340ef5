"""`manage.py make_superuser USERNAME`: let a person see all tenants and manage people; with --undo no longer."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from omarino import people
from omarino.models import User


class Command(BaseCommand):
    help = (
        "Make somebody a superuser, who sees all tenants and manages people. They must have signed in before. The "
        "audit keeps who ran this. Sessions that are open notice at their next page."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username", help="As under People; not the subject of a token.")
        parser.add_argument("--undo", action="store_true", help="Take it away again.")

    @transaction.atomic
    def handle(self, *args: Any, **options: Any) -> None:
        username, may = options["username"], not options["undo"]
        person = User.objects.select_for_update().filter(username=username).first()
        if person is None:
            raise CommandError(f"There is nobody called {username!r}. A person is made at the first sign-in.")
        if person.is_superuser == may:
            self.stdout.write(f"{username} {'is one already' if may else 'is none'}. Nothing was changed.")
            return
        was = people.Standing.of(person.pk)
        person.is_superuser = may
        person.is_staff = may or bool(person.groups.exists())
        person.save(update_fields=["is_superuser", "is_staff"])
        people.changed(person, was)
        self.stdout.write(f"{username} is {'a' if may else 'no longer a'} superuser.")
