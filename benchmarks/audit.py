"""What the audit and the second wall between tenants cost, on the PostgreSQL that `make up` starts.

A change is an UPDATE of one row in a transaction, with a record and without; by one writer, by eight of one tenant,
by eight of as many tenants. A read is a page of a list and a row by its key, with row-level security and without.
Then the chain is verified.

    python -m benchmarks.audit --write docs/benchmarks/audit.md
"""

from __future__ import annotations

import argparse
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from benchmarks.machine import machine

WRITERS = 8
TENANTS = [f"tenant-{index}" for index in range(WRITERS)]


@contextmanager
def database() -> Iterator[None]:
    """A PostgreSQL of its own with our tables; the settings are read when it runs."""
    with tempfile.TemporaryDirectory(prefix="hub-bench-") as folder:
        os.environ |= {"DATA_DIR": folder, "DJANGO_SETTINGS_MODULE": "omarino.settings", "LOG_LEVEL": "ERROR"}
        from omarino import embedded

        services = embedded.running_services(Path(folder))
        server = embedded.start_postgres(Path(folder), services)
        try:
            import django

            django.setup()
            from django.core.management import call_command

            call_command("migrate", verbosity=0)
            yield
        finally:
            embedded.stop(server)


def milliseconds(work: Callable[[int], None], times: int) -> np.ndarray:
    took = []
    for number in range(times + 50):  # the first ones warm up
        began = time.perf_counter()
        work(number)
        took.append(time.perf_counter() - began)
    return np.array(took[50:]) * 1000


def change(tenant_id: str, *, recorded: bool) -> Callable[[int], None]:
    from django.db import transaction

    from features.models import Asset
    from omarino import audit

    asset = Asset.objects.get(tenant_id=tenant_id, asset_id="meter-1")

    def work(number: int) -> None:
        with transaction.atomic():
            was = audit.digest(asset) if recorded else ""
            asset.name = f"name {number}"
            asset.save(update_fields=["name"])
            if recorded:
                audit.record(tenant_id, "changed", "asset", "meter-1", before=was, after=asset)

    return work


def at_once(tenants: list[str], times: int) -> float:
    """Recorded changes a second by one thread for each entry of `tenants`. Each writes to no row of another."""
    from django.db import connection, transaction

    from omarino import audit

    def write(tenant_id: str) -> None:
        try:
            for _ in range(times):
                with transaction.atomic():
                    audit.record(tenant_id, "changed", "asset", "meter-1", accepted=24)
        finally:
            connection.close()

    threads = [threading.Thread(target=write, args=(tenant,)) for tenant in tenants]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(tenants) * times / (time.perf_counter() - began)


def reads() -> dict[str, Callable[[int], None]]:
    from features.models import Asset

    rows = Asset.objects.for_tenant("tenant-3")
    return {
        "a page of 50 rows": lambda _: list(rows.order_by("-id")[:50]),  # type: ignore[dict-item]
        "a row by its key": lambda number: rows.get(asset_id=f"meter-{number % 1000}"),  # type: ignore[dict-item]
        "a count of 5,000": lambda _: rows.count(),  # type: ignore[dict-item]
    }


def compare_reads(times: int) -> list[tuple[str, float, float]]:
    """Median ms of each read without the wall and behind it, on the same connection."""
    from django.db import connection

    from omarino import row_security

    found = {}
    for walled in (False, True):
        with connection.cursor() as cursor:
            cursor.execute(
                f"ALTER TABLE features_asset {'FORCE' if walled else 'NO FORCE'} ROW LEVEL SECURITY"
            )
        row_security.confine("tenant-3")
        for name, read in reads().items():
            found[name, walled] = float(np.median(milliseconds(read, times)))
        row_security.release()
    return [(name, found[name, False], found[name, True]) for name in reads()]


def telling(times: int) -> float:
    """What a statement costs more when the connection served another tenant before."""
    from django.db import connection

    from omarino import row_security

    def asking_for(*tenants: str) -> Callable[[int], None]:
        def work(number: int) -> None:
            row_security.confine(tenants[number % len(tenants)])
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")

        return work

    alternating = float(np.median(milliseconds(asking_for("tenant-3", "tenant-4"), times)))
    alike = float(np.median(milliseconds(asking_for("tenant-3"), times)))
    row_security.release()
    return alternating - alike


def report(times: int) -> str:
    from features.models import Asset
    from omarino.audit_chain import verify

    for tenant in TENANTS:
        Asset.objects.bulk_create(
            [Asset(tenant_id=tenant, asset_id=f"meter-{index}", kind="load") for index in range(5_000)]
        )
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    lines = ["| a change of one row | p50 ms | p95 ms |", "|---|---|---|"]
    for name, recorded in (("without a record", False), ("with one", True)):
        p50, p95 = np.percentile(milliseconds(change("tenant-0", recorded=recorded), times), [50, 95])
        lines.append(f"| {name} | {p50:.2f} | {p95:.2f} |")
    alike, apart = at_once(["tenant-1"] * WRITERS, times), at_once(TENANTS, times)
    lines += [
        "",
        f"{WRITERS} writers at once: {alike:.0f} records a second of one tenant, {apart:.0f} of {WRITERS} tenants.",
    ]
    lines += ["", "| a read | without row-level security, ms | with it, ms |", "|---|---|---|"]
    lines += [f"| {name} | {without:.2f} | {behind:.2f} |" for name, without, behind in compare_reads(times)]
    lines += [
        "",
        f"Telling the connection its tenant, where it served another before: {telling(times):.2f} ms.",
    ]
    began = time.perf_counter()
    links = sum(found.links for found in verify())
    took = time.perf_counter() - began
    lines += [
        "",
        f"`manage.py verify_audit` follows {links / took:,.0f} links a second ({links:,} in {took:.1f} s).",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--times", type=int, default=1000)
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    with database():
        found = report(options.times)
    text = (
        "# The audit and the second wall\n\n"
        f"`make bench-audit`, {datetime.now(UTC):%Y-%m-%d}, the cores shared with the server. {machine()}. Medians of "
        f"{options.times} after 50 to warm up; with a load above the number of cores the times are those of waiting for "
        f"others, and only their ratio says something.\n\n{found}\n"
    )
    print(text)
    if options.write:
        options.write.write_text(text)


if __name__ == "__main__":
    main()
