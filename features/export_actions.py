"""What one does with exports: ask for one, write it, sweep what is old or was left behind."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
import structlog
from celery.exceptions import SoftTimeLimitExceeded
from django.conf import settings
from django.db import IntegrityError, InterfaceError, OperationalError, transaction
from django.utils import timezone

from features import catalog, export_files, parquet, sets
from features.chunks import Wanted, chunks
from features.errors import (
    ExportStorageUnavailable,
    IdempotencyKeyInvalid,
    IdempotencyKeyReused,
    NoData,
    TimesReversed,
    TooManyExports,
    UnknownAssets,
)
from features.models import Asset, FeatureExport
from omarino import audit
from omarino.jobs import OUR_FAULT, JobTaken

MOST_WAITING = 100  # of a tenant
REPORT_S = 1.0
TOO_LONG = "It took longer than an export may. Ask for a shorter time, or for fewer assets at a time."
KEY = re.compile(r"[!-~]{1,255}")
OnProgress = Callable[[int, float], None]  # rows so far, share done
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """asset_ids: None for all of the tenant. output_path: of the file, below the export's folder; None for a name of ours."""

    feature_set: str
    start_time: datetime
    end_time: datetime
    asset_ids: Sequence[str] | None = None
    output_path: str | None = None

    @property
    def digest(self) -> str:
        return hashlib.sha256(orjson.dumps(asdict(self), option=orjson.OPT_UTC_Z)).hexdigest()


def request_export(
    *,
    tenant_id: str,
    requested_by: str,
    request: ExportRequest,
    idempotency_key: str | None = None,
    enqueue: bool = True,
) -> tuple[FeatureExport, bool]:
    """The row of an export, and whether it is new: under the key of an earlier request it is that one's.

    Raises TimesReversed, UnknownFeatureSet, UnknownAssets, TooManyExports, IdempotencyKeyInvalid and
    IdempotencyKeyReused.
    """
    if request.start_time >= request.end_time:
        raise TimesReversed
    if idempotency_key is not None and not KEY.fullmatch(idempotency_key):
        raise IdempotencyKeyInvalid
    exports = FeatureExport.objects.for_tenant(tenant_id)
    known = exports.under_key(requested_by, idempotency_key or "")
    if idempotency_key and (earlier := known.first()):
        return _same(earlier, request), False
    chosen = sets.resolve(tenant_id, request.feature_set)
    _refuse_unknown_assets(tenant_id, request.asset_ids)
    if exports.waiting().count() >= MOST_WAITING:
        raise TooManyExports(limit=MOST_WAITING)
    whose = {"tenant_id": tenant_id, "requested_by": requested_by, "idempotency_key": idempotency_key or ""}
    export = FeatureExport(**whose, **_columns_of(request, chosen))
    try:
        with transaction.atomic():
            export.save(force_insert=True)
            audit.record(tenant_id, "requested", "export", export.pk, after=export.request_digest)
            if enqueue:
                export.enqueue()
    except IntegrityError:  # the same request, at the same moment
        if idempotency_key and (earlier := known.first()):
            return _same(earlier, request), False
        raise
    export.refresh_from_db()  # its times are the database's
    return export, True


def _columns_of(request: ExportRequest, chosen: catalog.FeatureSet) -> dict[str, Any]:
    return {
        "feature_set": chosen.name,
        "feature_set_version": chosen.version,
        "feature_names": list(chosen.names),
        "start_time": request.start_time,
        "end_time": request.end_time,
        "asset_ids": None if request.asset_ids is None else list(dict.fromkeys(request.asset_ids)),
        "file_name": request.output_path or _file_name(request),
        "request_digest": request.digest,
    }


def _same(earlier: FeatureExport, request: ExportRequest) -> FeatureExport:
    if earlier.request_digest != request.digest:
        raise IdempotencyKeyReused(export_id=str(earlier.pk))
    return earlier


def _file_name(request: ExportRequest) -> str:
    return f"{request.feature_set}_{request.start_time:%Y%m%dT%H%M}_{request.end_time:%Y%m%dT%H%M}.parquet"


def _refuse_unknown_assets(tenant_id: str, asset_ids: Sequence[str] | None) -> None:
    if asset_ids is None:
        return
    known = Asset.objects.for_tenant(tenant_id).filter(asset_id__in=asset_ids)
    unknown = sorted(set(asset_ids) - set(known.values_list("asset_id", flat=True)))
    if unknown:
        more = f" and {len(unknown) - 10} more" if len(unknown) > 10 else ""
        raise UnknownAssets(unknown=", ".join(unknown[:10]) + more)


def write_export(*, export_id: UUID | str, on_progress: OnProgress | None = None) -> bool:
    """Claim the export and write its file. False when it is another worker's, at its end, or must wait its turn."""
    export = FeatureExport.objects.claim(export_id)
    if export is None:
        return False
    try:
        with export.in_hand():
            _write_in_hand(export, on_progress)
    except JobTaken:  # cancelled, or another worker has it: nothing of ours is left
        log.info("export_given_up", export_id=str(export.pk))
    return True


def _write_in_hand(export: FeatureExport, on_progress: OnProgress | None) -> None:
    """Whatever happens is written on the row; with the database away its lease runs out."""
    try:
        _write(export, on_progress)
    except (JobTaken, OperationalError, InterfaceError):
        raise
    except ExportStorageUnavailable as fault:
        export.release(str(fault))
    except NoData as refusal:
        export.fail(str(refusal))
    except SoftTimeLimitExceeded:
        export.fail(TOO_LONG)
    except KeyboardInterrupt:  # of who runs the command
        with suppress(JobTaken):
            FeatureExport.objects.for_tenant(export.tenant_id).cancel(export.pk)
        raise
    except Exception:
        export.fail(OUR_FAULT)
        raise


def _write(export: FeatureExport, on_progress: OnProgress | None) -> None:
    features = catalog.features_named(export.feature_names)
    wanted = Wanted(export.tenant_id, features, export.start_time, export.end_time, export.asset_ids)
    reported = time.monotonic()
    with (
        export_files.sink_of(export) as sink,
        parquet.ExportWriter(sink, parquet.schema_of(export, features), export.tenant_id) as writer,
    ):
        for chunk in chunks(wanted):
            writer.add(chunk)
            if on_progress:
                on_progress(writer.rows, chunk.share)
            if time.monotonic() - reported >= REPORT_S:
                export.report(chunk.share)
                reported = time.monotonic()
        if writer.rows == 0:
            raise NoData(start=_said(export.start_time), end=_said(export.end_time))
        writer.close()
        with transaction.atomic():
            export.lock()
            sink.publish()
            export.complete(row_count=writer.rows, file_size_bytes=sink.size_bytes, sha256=sink.sha256)


def _said(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def sweep_exports(*, now: datetime | None = None) -> int:
    """Delete exports kept long enough, with their files, and what dead workers left. How many exports."""
    moment = now or timezone.now()
    swept = 0
    if settings.EXPORT_KEEP_DAYS:
        for export in FeatureExport.objects.over_before(moment - timedelta(days=settings.EXPORT_KEEP_DAYS)):
            export_files.delete(export)
            swept += FeatureExport.objects.filter(pk=export.pk, status=export.status).delete()[0]
    export_files.delete_leftovers(
        now=moment, younger_than=timedelta(seconds=settings.CELERY_TASK_TIME_LIMIT + 600)
    )
    return swept
