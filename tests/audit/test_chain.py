"""The audit is append-only, and who changes it past the database's refusal is found out."""

from __future__ import annotations

import threading
import time
import uuid
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from botocore.config import Config
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction

from omarino import audit
from omarino.audit_chain import anchor, latest_anchors, verify
from omarino.audit_models import AuditLink, AuditRecord
from omarino.tasks import anchor_audit
from tests.audit.conftest import Tamper

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def tenant() -> str:
    """A tenant with four records. Nothing empties the audit between tests, so it is another each time."""
    name = f"t-{uuid.uuid4().hex[:12]}"
    for number in range(1, 5):
        audit.record(name, "stored", "readings", f"meter-{number}", accepted=number)
    return name


def fault_of(tenant_id: str) -> str:
    (found,) = verify(tenant_id)
    return found.fault


def verified(tenant_id: str) -> str:
    out = StringIO()
    call_command("verify_audit", tenant=tenant_id, stdout=out)
    return out.getvalue()


def test_records_are_linked_in_the_order_of_their_commits(tenant: str) -> None:
    links = AuditLink.objects.for_tenant(tenant).select_related("record")

    assert [(link.number, link.record.object_id) for link in links] == [
        (1, "meter-1"),
        (2, "meter-2"),
        (3, "meter-3"),
        (4, "meter-4"),
    ]
    assert len({link.digest for link in links}) == 4
    assert verified(tenant).startswith(f"{tenant}: 4 links, the last {links[3].digest}")


def test_what_is_rolled_back_leaves_neither_record_nor_gap(tenant: str) -> None:
    with transaction.atomic():
        audit.record(tenant, "stored", "readings", "meter-5")
        transaction.set_rollback(True)
    audit.record(tenant, "stored", "readings", "meter-6")

    assert AuditLink.objects.for_tenant(tenant).count() == 5
    assert fault_of(tenant) == ""


def test_any_text_is_kept_and_verified(tenant: str) -> None:
    audit.record(
        tenant, "stored", "Zähler 東京", "a:b'\"\\\0\ud800", note="Größe \u2028", number=1e30, no=None
    )

    assert fault_of(tenant) == ""


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_records SET username = 'somebody else' WHERE tenant_id = %s",
        "DELETE FROM audit_records WHERE tenant_id = %s",
        "UPDATE audit_links SET number = number + 1000 WHERE tenant_id = %s",
        "DELETE FROM audit_links WHERE tenant_id = %s",
        "TRUNCATE audit_records",
        "TRUNCATE audit_links",
    ],
)
@pytest.mark.parametrize("session_replication_role", ["origin", "replica"])
def test_the_database_refuses_every_change(
    superuser: Any, tenant: str, statement: str, session_replication_role: str
) -> None:
    superuser.execute(f"SET session_replication_role = {session_replication_role}")

    with pytest.raises(Exception, match="is append-only"):
        superuser.execute(statement, [tenant] if "%s" in statement else [])
    with pytest.raises(IntegrityError, match="is append-only"), connection.cursor() as cursor:
        cursor.execute(statement, [tenant] if "%s" in statement else [])


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        (
            "UPDATE audit_records SET username = 'mallory' WHERE object_id = 'meter-2' AND tenant_id = %s",
            "the record of link 2",
        ),
        (
            "UPDATE audit_records SET facts = '{\"accepted\": 9}' WHERE object_id = 'meter-3' AND tenant_id = %s",
            "the record of link 3",
        ),
        (
            "UPDATE audit_records SET at = at - interval '1 day' WHERE object_id = 'meter-1' AND tenant_id = %s",
            "the record of link 1",
        ),
        ("DELETE FROM audit_records WHERE object_id = 'meter-2' AND tenant_id = %s", "the record of link 2"),
        ("DELETE FROM audit_links WHERE number = 2 AND tenant_id = %s", "after link 1 comes 3"),
        (
            "UPDATE audit_links SET linked_at = linked_at - interval '1 h' WHERE number = 3 AND tenant_id = %s",
            "link 3",
        ),
        ("UPDATE audit_links SET digest = repeat('0', 64) WHERE number = 3 AND tenant_id = %s", "link 3"),
        (
            "WITH gone AS (DELETE FROM audit_links WHERE number = 4 AND tenant_id = %s) SELECT",
            "is in no chain",
        ),
    ],
)
def test_whoever_switches_the_triggers_off_is_found_out_at_the_first_broken_link(
    tamper: Tamper, tenant: str, statement: str, named: str
) -> None:
    tamper(statement, tenant)

    assert named in fault_of(tenant)
    with pytest.raises(CommandError, match="1 broken"):
        verified(tenant)


def test_a_record_slipped_in_without_a_link_is_found(tamper: Tamper, tenant: str) -> None:
    tamper(
        "INSERT INTO audit_records (id, tenant_id, outcome, verb, kind, object_id, subject, username, before, after,"
        " facts, request_id, salt) VALUES (gen_random_uuid(), %s, 'done', 'stored', '', '', '', '', '', '', '{}', '', '')",
        tenant,
    )

    assert "is in no chain" in fault_of(tenant)


CUT = (
    "WITH cut AS (DELETE FROM audit_links WHERE number > 2 AND tenant_id = %s RETURNING record_id) "
    "DELETE FROM audit_records WHERE id IN (SELECT record_id FROM cut)"
)


def test_a_cut_end_shows_once_it_was_anchored(tamper: Tamper, tenant: str) -> None:
    assert anchor(datetime.now(UTC))[tenant].number == 4

    tamper(CUT, tenant)

    assert "ends at link 2, but had 4 when it was anchored" in fault_of(tenant)


def test_a_chain_made_anew_after_a_cut_is_not_the_anchored_one(tamper: Tamper, tenant: str) -> None:
    anchor(datetime.now(UTC))
    tamper(CUT, tenant)
    for _ in range(3):
        audit.record(tenant, "stored", "readings", "another")

    assert "is not the one that was anchored" in fault_of(tenant)
    anchor(datetime.now(UTC))  # it is anchored as well, and proves nothing
    assert "is not the one that was anchored" in fault_of(tenant)


def test_a_chain_that_is_gone_as_a_whole_shows(tamper: Tamper, tenant: str) -> None:
    anchor(datetime.now(UTC))
    tamper(CUT.replace("number > 2", "number > 0"), tenant)

    assert "all of it is gone" in fault_of(tenant)


def test_an_anchor_tells_what_moved_and_the_first_of_a_day_all(tenant: str) -> None:
    morning = datetime(2031, 5, 1, 8, tzinfo=UTC)

    assert tenant in anchor(morning)
    anchor(morning)  # another beat, at the same moment
    assert anchor(morning + timedelta(hours=1)) == {}  # nobody wrote since, by the clock of the anchors
    assert tenant in anchor(morning + timedelta(days=1))


def test_the_periodic_task_keeps_the_ends_in_the_storage_and_tells_the_log(
    tenant: str, files: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        anchor_audit()

    assert set(latest_anchors()[tenant]) == {4}
    assert [path.suffix for path in (files / "default" / "_audit").rglob("*") if path.is_file()] == [".json"]
    told = [str(record.msg) for record in caplog.records if "audit_anchored" in str(record.msg)]
    assert any(tenant in line for line in told)


def test_an_anchor_without_its_storage_is_an_error_in_the_log_and_made_next_time(
    tenant: str, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    kept = settings.STORAGES
    once = Config(connect_timeout=1, retries={"total_max_attempts": 1})
    options = {"bucket_name": "b", "endpoint_url": "http://127.0.0.1:9", "access_key": "k", "secret_key": "s"}
    away = {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": {**options, "client_config": once}}
    settings.STORAGES = {**kept, "default": away}
    anchor_audit()
    assert "audit_not_anchored" in caplog.text
    settings.STORAGES = kept

    anchor_audit()

    assert set(latest_anchors()[tenant]) == {4}


def test_many_writers_of_one_tenant_make_one_chain(tenant: str) -> None:
    def write(name: str) -> None:
        try:
            for number in range(20):
                with transaction.atomic():
                    audit.record(tenant, "stored", "readings", f"{name}-{number}")
        finally:
            connection.close()

    threads = [threading.Thread(target=write, args=(str(index),)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert AuditRecord.objects.for_tenant(tenant).count() == 164
    assert list(AuditLink.objects.for_tenant(tenant).values_list("number", flat=True)) == list(range(1, 165))
    assert fault_of(tenant) == ""


# Erasures, and what only looks like one


def erase(tenant_id: str, *, also: str = "") -> None:
    """As `erase_tenant` does to the audit."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT audit_hold(%s)", [tenant_id])
        audit.record(tenant_id, "erased", "tenant", tenant_id)
        cursor.execute(
            f"DELETE FROM audit_records WHERE tenant_id = %s AND verb <> 'erased' {also}",  # noqa: S608
            [tenant_id],
        )


def test_one_record_cannot_be_taken_away_under_the_name_of_an_erasure(tenant: str) -> None:
    with pytest.raises(IntegrityError, match="takes all records of a tenant, or none"):
        erase(tenant, also="AND object_id = 'meter-2'")

    assert AuditRecord.objects.for_tenant(tenant).count() == 4
    assert fault_of(tenant) == ""


def test_an_erasure_that_took_some_records_only_is_found_out(tamper: Tamper, tenant: str) -> None:
    audit.record(tenant, "erased", "tenant", tenant)
    tamper("DELETE FROM audit_records WHERE object_id = 'meter-2' AND tenant_id = %s", tenant)

    assert "link 5 says that the tenant was erased, but the record of link 1" in fault_of(tenant)
    with pytest.raises(CommandError, match="1 broken"):
        verified(tenant)


def test_an_erasure_that_took_nothing_is_found_out(tenant: str) -> None:
    audit.record(tenant, "erased", "tenant", tenant)

    assert "is still there" in fault_of(tenant)


def test_whoever_writes_while_a_tenant_is_erased_comes_after_it(tenant: str) -> None:
    began, may_end = threading.Event(), threading.Event()

    def write() -> None:
        try:
            with transaction.atomic():
                audit.record(tenant, "stored", "readings", "meanwhile")
                began.set()
                may_end.wait(10)
        finally:
            connection.close()

    writer = threading.Thread(target=write)
    writer.start()
    assert began.wait(10)
    with transaction.atomic():
        erase(tenant)
        may_end.set()
        time.sleep(0.3)  # it wants to commit now
    writer.join()

    assert [row.object_id for row in AuditRecord.objects.for_tenant(tenant)] == [tenant, "meanwhile"]
    (found,) = verify(tenant)
    assert (found.fault, found.links, found.erased) == ("", 6, 4)
    erase(tenant)
    (found,) = verify(tenant)
    assert (found.fault, found.links, found.erased) == ("", 7, 5)


def test_a_record_from_before_an_erasure_that_came_after_it_cannot_go_unseen(
    tenant: str, tamper: Tamper
) -> None:
    erase(tenant)
    audit.record(tenant, "stored", "readings", "later")
    tamper("DELETE FROM audit_records WHERE object_id = 'later' AND tenant_id = %s", tenant)

    assert "is gone without an erasure" in fault_of(tenant)
