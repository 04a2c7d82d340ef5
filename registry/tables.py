"""Batches as tables: an Arrow stream or a Parquet file of one number column a feature, in and out.

An Arrow stream is read here, and must not be compressed inside, so that it never grows. A Parquet file is unpacked
in a process that is thrown away, as artifacts are: pyarrow ends the process for some files that were edited by hand.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet
from numpy.typing import NDArray

from omarino import parquet_apart
from omarino.parquet_apart import ParquetRefused
from registry.errors import TableRefused

ARROW = "application/vnd.apache.arrow.stream"
PARQUET = "application/vnd.apache.parquet"
MAX_BATCHES = 10_000
LENGTH, COMPRESSION = 0, 3  # fields of RecordBatch in Arrow's Message.fbs
HEADER = 2  # of Message


def columns_of_stream(body: bytes, max_rows: int) -> dict[str, NDArray[np.float64]]:
    """The columns of an Arrow stream by name, each of shape (n,), 0 < n <= max_rows.

    Whole numbers become floats; null and NaN both become NaN, a missing value.

    Raises:
        TableRefused: damaged, compressed, empty, too long, or a column that holds no numbers.
    """
    try:
        table = _read_stream(body, max_rows)
        if not table.num_rows:
            raise TableRefused(reason="it has no rows.")
        return {name: _numbers(table.column(name)) for name in table.column_names}
    except (pa.ArrowException, OSError, struct.error, IndexError, UnicodeDecodeError) as fault:
        raise TableRefused(reason=unreadable(fault)) from fault


def unpacked(body: bytes, *, max_rows: int, max_bytes: int) -> bytes:
    """A Parquet file as an Arrow stream. Raises TableRefused."""
    try:
        return parquet_apart.unpacked(body, max_rows=max_rows, max_bytes=max_bytes)
    except ParquetRefused as refusal:
        raise TableRefused(reason=f"{refusal}.") from refusal


def write_table(columns: Mapping[str, pa.Array], media_type: str, facts: Mapping[str, str]) -> bytes:
    """A table as bytes; `facts` stand in the metadata of its schema."""
    table = pa.table(dict(columns)).replace_schema_metadata(dict(facts))
    sink = pa.BufferOutputStream()
    if media_type == PARQUET:
        pyarrow.parquet.write_table(table, sink, compression="snappy")
    else:
        with pyarrow.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _read_stream(body: bytes, max_rows: int) -> pa.Table:
    """Message by message, each looked at before Arrow makes arrays of it."""
    messages = iter(pyarrow.ipc.MessageReader.open_stream(pa.BufferReader(body)))
    opening = next(messages, None)
    if opening is None or opening.type != "schema":
        raise TableRefused(reason="it is no Arrow stream: it does not begin with a schema.")
    schema = pyarrow.ipc.read_schema(opening)
    check_schema(schema)
    batches: list[pa.RecordBatch] = []
    rows = 0
    for message in messages:
        if message.type != "record batch":
            raise TableRefused(reason=f"it holds a message of the kind {message.type!r}.")
        length, is_compressed = _said_of_batch(message.metadata.to_pybytes())
        if is_compressed:
            raise TableRefused(
                reason="its batches are compressed. Write the stream without compression, or send a Parquet file."
            )
        rows += length
        check_length(rows, len(batches) + 1, max_rows)
        batch = pyarrow.ipc.read_record_batch(message, schema)
        batch.validate(full=True)  # that its buffers are as long as it says
        batches.append(batch)
    return pa.Table.from_batches(batches, schema)


def unreadable(fault: BaseException) -> str:
    first = str(fault).split("\n")[0][:200].rstrip(".")
    return f"it cannot be read ({first})."


def check_schema(schema: pa.Schema) -> None:
    names = schema.names
    if repeated := sorted({name for name in names if names.count(name) > 1})[:1]:
        raise TableRefused(reason=f"two columns are called {repeated[0]!r}.")
    for field in schema:
        if not (pa.types.is_integer(field.type) or pa.types.is_floating(field.type)):
            raise TableRefused(
                reason=f"the column {field.name[:200]!r} is {str(field.type)[:100]}; columns hold numbers."
            )


def check_length(rows: int, parts: int, max_rows: int) -> None:
    if not 0 <= rows <= max_rows:
        raise TableRefused(reason=f"it has more than {max_rows} rows.")
    if parts > MAX_BATCHES:
        raise TableRefused(reason=f"it is cut into more than {MAX_BATCHES} pieces.")


def _numbers(column: pa.ChunkedArray) -> NDArray[np.float64]:
    """float64; null becomes NaN. Whole numbers past 2^53 lose digits, and are refused as too large later."""
    values = pa.chunked_array(column).cast(pa.float64(), safe=False).combine_chunks()
    return np.asarray(values.to_numpy(zero_copy_only=False), dtype=np.float64)


def _said_of_batch(message: bytes) -> tuple[int, bool]:
    """Rows of a record batch, and whether its buffers are compressed, from the head of its message (a
    FlatBuffer), since Arrow would tell only after it had unpacked them."""
    root = struct.unpack_from("<I", message)[0]
    at = _field(message, root, HEADER)
    if at is None:
        return 0, False
    batch = at + struct.unpack_from("<I", message, at)[0]
    length = _field(message, batch, LENGTH)
    rows = 0 if length is None else struct.unpack_from("<q", message, length)[0]
    return rows, _field(message, batch, COMPRESSION) is not None


def _field(message: bytes, table: int, index: int) -> int | None:
    """Where a field of a FlatBuffer's table begins; None: it has its default."""
    vtable = table - struct.unpack_from("<i", message, table)[0]
    size = struct.unpack_from("<H", message, vtable)[0]
    place = 4 + 2 * index
    offset = struct.unpack_from("<H", message, vtable + place)[0] if place + 2 <= size else 0
    return table + offset if offset else None
