"""Secrets that the database alone does not tell: sealed, read under older keys, moved to the newest."""

from __future__ import annotations

from importlib import import_module
from io import StringIO
from types import SimpleNamespace
from typing import Any

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from django.db import connection

from anomalies.models import Alert, Watch
from anomalies.watch_actions import send_alert, set_up_watch, try_webhook
from omarino import audit
from omarino.audit_models import AuditRecord
from omarino.authentication import Principal
from omarino.sealing import SealBroken, seal, unseal
from tests.factories import make_alert, make_asset

OLD, NEW = "the-first-key-" * 4, "the-second-key-" * 4


@pytest.fixture(autouse=True)
def old_key(settings: Any) -> None:
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = OLD, []


def rotate(settings: Any) -> None:
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = NEW, [OLD]


def forget_the_old_key(settings: Any) -> None:
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = NEW, []


@pytest.fixture
def watch(db: None, alice: Principal) -> Watch:
    return set_up_watch(
        tenant_id=alice.tenant_id,
        asset_id=make_asset(alice).asset_id,
        created_by=alice.subject,
        sensitivity=3.0,
        webhook_url="https://receiver.invalid/",
    )


def kept() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT watch::text FROM anomalies_watch AS watch")
        return str(cursor.fetchone()[0])


def reseal() -> str:
    out = StringIO()
    call_command("reseal_secrets", stdout=out)
    return out.getvalue().strip()


def test_a_sealed_text_differs_each_time_and_reads_the_same() -> None:
    first, second = seal("whsec_äß"), seal("whsec_äß")

    assert first != second
    assert "whsec" not in first
    assert unseal(first) == unseal(second) == "whsec_äß"


@pytest.mark.parametrize("broken", ["", "whsec_cGxhaW4=", "gAAAAAB" + "x" * 90, seal])
def test_what_was_changed_or_never_sealed_is_not_read(broken: Any) -> None:
    text = broken if isinstance(broken, str) else seal("secret")[:-4] + "AAA="

    with pytest.raises(SealBroken, match="SECRET_KEY_FALLBACKS"):
        unseal(text)


def test_the_database_does_not_hold_the_secret_of_a_webhook(watch: Watch) -> None:
    secret = Watch.objects.get().webhook_secret

    assert secret.startswith("whsec_")
    assert secret not in kept()
    assert secret.removeprefix("whsec_") not in kept()


def test_secrets_kept_before_are_sealed_by_the_migration(watch: Watch) -> None:
    Watch.objects.update(sealed_secret="whsec_cGxhaW4=")
    migration = import_module("anomalies.migrations.0003_sealed_secrets")

    migration.rewrite(migration.seal)(apps, SimpleNamespace(connection=connection))

    assert "whsec" not in kept()
    assert Watch.objects.get().webhook_secret == "whsec_cGxhaW4="


def test_a_secret_outlives_the_change_of_the_key(watch: Watch, settings: Any) -> None:
    secret = watch.webhook_secret
    rotate(settings)
    assert Watch.objects.get().webhook_secret == secret

    was = audit.digest(watch)
    assert reseal() == "1 sealed anew."
    assert reseal() == "0 sealed anew."
    (record,) = AuditRecord.objects.for_tenant(watch.tenant_id).filter(verb="resealed")
    assert (record.object_id, record.before) == (str(watch.pk), was)
    assert record.after == audit.digest(Watch.objects.get()) != was

    forget_the_old_key(settings)
    assert Watch.objects.get().webhook_secret == secret


def test_without_its_key_nothing_is_sent_and_one_is_told_why(
    watch: Watch, settings: Any, alice: Principal
) -> None:
    alert = make_alert(watch)
    Alert.objects.update(sending="pending")
    forget_the_old_key(settings)

    send_alert(alert_id=alert.pk)

    assert "SECRET_KEY_FALLBACKS" in Alert.objects.get().last_answer
    assert "SECRET_KEY_FALLBACKS" in try_webhook(tenant_id=alice.tenant_id, watch_id=watch.pk).told
    with pytest.raises(CommandError, match="1 cannot be read"):
        reseal()
