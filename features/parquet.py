"""Rows of features into a Parquet file, one row group while the next is computed."""

from __future__ import annotations

import contextvars
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from features.catalog import COMPUTATION_VERSION, Feature
from features.chunks import Chunk
from features.export_files import BLOCK_BYTES, Sink
from features.models import FeatureExport

ROW_GROUP_ROWS = 131_072  # some MB of each column: readers skip by asset and time, and few are held at once


def schema_of(export: FeatureExport, features: Sequence[Feature]) -> pa.Schema:
    """Each field says its unit; the file says what it is, and how it was computed."""

    def column(name: str, kind: pa.DataType, unit: str, *, known: bool = True) -> pa.Field:
        return pa.field(name, kind, nullable=not known, metadata={"unit": unit})

    text = pa.dictionary(pa.int32(), pa.string())
    return pa.schema(
        [
            column("timestamp", pa.timestamp("us", "UTC"), "UTC"),
            column("tenant_id", text, ""),
            column("asset_id", text, ""),
            column("target", pa.float64(), "of the readings"),
            *(
                column(feature.name, pa.int8(), feature.unit)
                if feature.is_whole
                else column(feature.name, pa.float64(), feature.unit, known=False)
                for feature in features
            ),
        ],
        metadata={
            "feature_set": export.feature_set,
            "feature_set_version": str(export.feature_set_version),
            "computation_version": str(COMPUTATION_VERSION),
            "tenant_id": export.tenant_id,
            "export_id": str(export.pk),
            "start_time": export.start_time.isoformat(),
            "end_time": export.end_time.isoformat(),
        },
    )


class ExportWriter:
    """Takes chunks of any size, writes row groups of one size, each while the next one is computed.

    What goes wrong with one is raised with the next, or by `close`. At the end of a `with` nothing is being written.
    """

    def __init__(self, sink: Sink, schema: pa.Schema, tenant_id: str) -> None:
        self.rows = 0
        self._schema = schema
        self._tenant_id = tenant_id
        self._waiting: list[pa.RecordBatch] = []
        self._waiting_rows = 0
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="export-writer")
        self._written: Future[None] | None = None
        # Each write into Python waits for its lock, which the computation mostly has.
        self._blocks = pa.BufferedOutputStream(pa.PythonFile(sink, "w"), BLOCK_BYTES)
        whole = [field.name for field in schema if not pa.types.is_floating(field.type)]
        self._file = pq.ParquetWriter(
            self._blocks,
            schema,
            compression="snappy",
            use_dictionary=[name for name in whole if name != "timestamp"],  # numbers seldom repeat
            write_batch_size=ROW_GROUP_ROWS,
            store_schema=True,
        )

    def add(self, chunk: Chunk) -> None:
        count = chunk.times_us.size
        arrays = [
            pa.array(chunk.times_us, pa.timestamp("us", "UTC")),
            _repeated(self._tenant_id, count),
            _repeated(chunk.asset_id, count),
            pa.array(chunk.target),
            *(self._column(name, values) for name, values in chunk.columns.items()),
        ]
        self._waiting.append(pa.RecordBatch.from_arrays(arrays, schema=self._schema))
        self._waiting_rows += count
        self.rows += count
        if self._waiting_rows >= ROW_GROUP_ROWS:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._wait()
        self._file.close()
        self._blocks.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.shutdown()

    def _column(self, name: str, values: Any) -> pa.Array:
        """NaN, which stands for nothing known, becomes null, as it does in an answer of the API."""
        kind = self._schema.field(name).type
        return pa.array(values.astype("int8")) if kind == pa.int8() else pa.array(values, from_pandas=True)

    def _flush(self) -> None:
        if self._waiting:
            table = pa.Table.from_batches(self._waiting, self._schema).unify_dictionaries()
            self._wait()  # one at a time: memory stays bounded
            write = partial(self._file.write_table, table, row_group_size=ROW_GROUP_ROWS)
            self._written = self._writer.submit(contextvars.copy_context().run, write)
        self._waiting, self._waiting_rows = [], 0

    def _wait(self) -> None:
        if self._written is not None:
            self._written.result()


def _repeated(text: str, count: int) -> pa.DictionaryArray:
    indices = pa.repeat(pa.scalar(0, pa.int32()), count)
    return pa.DictionaryArray.from_arrays(indices, pa.array([text]))
