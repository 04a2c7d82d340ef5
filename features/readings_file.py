"""Tables of readings as they come: CSV (plain or gzip) and Parquet, read in blocks, never whole."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.ipc
import pyarrow.parquet

from features.batches import Ints, Rejections
from features.errors import FileUnreadable
from omarino import parquet_apart
from omarino.parquet_apart import ParquetRefused

BLOCK_BYTES = 1 << 22
BLOCK_ROWS = 1 << 17
HEADER_BYTES = 1 << 16
SEPARATORS = (";", "\t", "|", ",")  # a comma may be a decimal mark, so any other comes first
MOST_ROWS_SENT = 50_000_000
_GZIP, _PARQUET = b"\x1f\x8b", b"PAR1"
_NO_NAME = re.compile(r"[-+0-9.,:/ TZe]*[0-9][-+0-9.,:/ TZe]*|")


@dataclass(frozen=True, slots=True)
class Block:
    """rows: the line of a file or the row of a table, from 1. columns: texts of a CSV file, or as stored."""

    rows: Ints
    columns: dict[str, pa.Array]


class Table(Protocol):
    """What both formats give. `said` tells a person what was taken for granted."""

    names: list[str]
    said: str

    def blocks(self, columns: Sequence[str], rejections: Rejections) -> Iterator[Block]: ...

    @property
    def share_read(self) -> float: ...


def open_table(
    source: Path | bytes,
    *,
    name: str = "",
    separator: str | None = None,
    encoding: str = "utf8",
    unpacked_at_most: int | None = None,
) -> Table:
    """A file or a body by its content: Parquet, else CSV, whether or not compressed by gzip.

    `unpacked_at_most` bounds what a small body may become: gzip is then refused, and a Parquet file that
    says it unpacks to more.

    Raises:
        FileUnreadable: it is not there, is empty, damaged, or neither of the two.
    """
    name = name or str(source)
    try:
        if isinstance(source, Path) and source.is_dir():
            raise FileUnreadable(name=name, reason="it is a folder")
        raw = _open(source)
        magic = raw.read(4)
        if not magic:
            raise FileUnreadable(name=name, reason="it is empty")
        if magic == _PARQUET and isinstance(source, bytes):
            return SentParquetTable(source, name, unpacked_at_most or len(source) * 1000)
        if magic == _PARQUET:
            return ParquetTable(_open(source), name)
        if unpacked_at_most is not None and magic.startswith(_GZIP):
            raise FileUnreadable(name=name, reason="it is compressed; send it as it is")
        return CsvTable(source, name, magic.startswith(_GZIP), separator, encoding)
    except (OSError, pa.ArrowException) as fault:
        raise FileUnreadable(name=name, reason=_short(fault)) from fault


class CsvTable:
    """A CSV file. Its line numbers survive empty and malformed lines."""

    def __init__(
        self, source: Path | bytes, name: str, compressed: bool, separator: str | None, encoding: str
    ) -> None:
        self._source, self._name, self._compressed, self._encoding = source, name, compressed, encoding
        self._blocks_read = 0
        header = self._first_line()
        self._separator = separator or max(
            SEPARATORS, key=lambda mark: (header.count(mark), -SEPARATORS.index(mark))
        )
        names = [field.strip() for field in next(csv.reader([header], delimiter=self._separator), [])]
        if not names:
            raise FileUnreadable(name=name, reason="its first line is empty")
        self._has_header = not all(map(_NO_NAME.fullmatch, names))
        self.names = names if self._has_header else [str(number) for number in range(1, len(names) + 1)]
        if repeated := sorted({name for name in self.names if self.names.count(name) > 1}):
            raise FileUnreadable(name=name, reason=f"two columns are called {repeated[0]!r}")
        without = "" if self._has_header else ", no header: columns are called 1, 2, ..."
        self.said = f"CSV, separator {self._separator!r}{without}"

    def blocks(self, columns: Sequence[str], rejections: Rejections) -> Iterator[Block]:
        malformed: list[int] = []

        def skip(row: Any) -> str:
            malformed.append(row.number)
            problem = f"{row.actual_columns} columns instead of {row.expected_columns}"
            rejections.add(row.number, problem)
            return "skip"

        next_line = 1 + self._has_header
        try:
            reader = pyarrow.csv.open_csv(
                self._stream(),
                # Only a single thread tells the numbers of malformed lines.
                read_options=pyarrow.csv.ReadOptions(
                    use_threads=False,
                    block_size=BLOCK_BYTES,
                    column_names=self.names,
                    skip_rows=int(self._has_header),
                    encoding=self._encoding,
                ),
                parse_options=pyarrow.csv.ParseOptions(
                    delimiter=self._separator, ignore_empty_lines=False, invalid_row_handler=skip
                ),
                convert_options=pyarrow.csv.ConvertOptions(
                    include_columns=list(columns),
                    column_types=dict.fromkeys(columns, pa.string()),
                    strings_can_be_null=False,
                ),
            )
            for batch in reader:
                self._blocks_read += 1
                wanted = batch.num_rows
                ahead = [line for line in malformed if line >= next_line]
                lines = np.arange(next_line, next_line + wanted + len(ahead))
                lines = lines[~np.isin(lines, ahead)][:wanted] if ahead else lines
                if wanted:
                    next_line = int(lines[-1]) + 1
                yield _without_empty_lines(lines, batch)
        except (OSError, pa.ArrowException, UnicodeError, LookupError) as fault:
            raise FileUnreadable(name=self._name, reason=_short(fault)) from fault

    @property
    def share_read(self) -> float:
        if self._compressed:  # a few blocks ahead of the rows, as Arrow reads ahead
            return 1.0 if self._raw.closed else float(self._raw.tell() / self._bytes)
        return min(float(self._blocks_read * BLOCK_BYTES / self._bytes), 1.0)

    def _stream(self) -> pa.NativeFile:
        self._raw = _open(self._source)  # anew, as a stream over it closes it at its end
        return pa.CompressedInputStream(self._raw, "gzip") if self._compressed else self._raw

    def _first_line(self) -> str:
        stream = self._stream()
        head: bytes = stream.read(HEADER_BYTES)
        self._bytes = self._raw.size()
        line, end, _ = head.partition(b"\n")
        if len(head) == HEADER_BYTES and not end:
            raise FileUnreadable(
                name=self._name, reason=f"its first line is longer than {HEADER_BYTES} bytes"
            )
        try:
            return line.decode("utf-8-sig" if self._encoding == "utf8" else self._encoding).strip("\r\n")
        except (UnicodeError, LookupError) as fault:
            reason = f"its text is not {self._encoding} (save it as UTF-8, or name its encoding)"
            raise FileUnreadable(name=self._name, reason=reason) from fault


class ParquetTable:
    """A Parquet file of an operator's. Rows are counted from 1."""

    def __init__(self, raw: pa.NativeFile, name: str) -> None:
        self._name = name
        self._file = pyarrow.parquet.ParquetFile(raw)
        self.names = list(self._file.schema_arrow.names)
        self.said = "Parquet"
        self._rows = self._file.metadata.num_rows
        self._rows_read = 0

    def blocks(self, columns: Sequence[str], rejections: Rejections) -> Iterator[Block]:
        try:
            for batch in self._file.iter_batches(batch_size=BLOCK_ROWS, columns=list(columns)):
                rows = np.arange(self._rows_read + 1, self._rows_read + 1 + batch.num_rows)
                self._rows_read += batch.num_rows
                yield Block(rows, {name: _plain(batch.column(name)) for name in columns})
        except (OSError, pa.ArrowException) as fault:
            raise FileUnreadable(name=self._name, reason=_short(fault)) from fault

    @property
    def share_read(self) -> float:
        return self._rows_read / self._rows if self._rows else 1.0


class SentParquetTable:
    """A Parquet file that came over the network: unpacked in a process that is thrown away, read from its stream."""

    said = "Parquet"

    def __init__(self, body: bytes, name: str, unpacked_at_most: int) -> None:
        self._name = name
        try:
            stream = parquet_apart.unpacked(body, max_rows=MOST_ROWS_SENT, max_bytes=unpacked_at_most)
        except ParquetRefused as refusal:
            raise FileUnreadable(name=name, reason=str(refusal)) from refusal
        self._batches = pa.ipc.open_stream(pa.BufferReader(stream))
        self.names = list(self._batches.schema.names)
        self._is_over = False

    def blocks(self, columns: Sequence[str], rejections: Rejections) -> Iterator[Block]:
        rows_read = 0
        for batch in self._batches:
            rows = np.arange(rows_read + 1, rows_read + 1 + batch.num_rows)
            rows_read += batch.num_rows
            yield Block(rows, {name: _plain(batch.column(name)) for name in columns})
        self._is_over = True

    @property
    def share_read(self) -> float:
        return float(self._is_over)


def _open(source: Path | bytes) -> pa.NativeFile:
    return pa.BufferReader(source) if isinstance(source, bytes) else pa.OSFile(str(source))


def _without_empty_lines(lines: Ints, batch: pa.RecordBatch) -> Block:
    """An empty line is no reading and no mistake."""
    columns = {name: batch.column(name) for name in batch.schema.names}
    filled = np.zeros(batch.num_rows, dtype=bool)
    for column in columns.values():
        filled |= pa.compute.not_equal(column, "").to_numpy(zero_copy_only=False)
    if filled.all():
        return Block(lines, columns)
    mask = pa.array(filled)
    return Block(lines[filled], {name: column.filter(mask) for name, column in columns.items()})


def _plain(column: pa.Array) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    return column.cast(pa.string()) if pa.types.is_large_string(column.type) else column


def _short(fault: BaseException) -> str:
    if isinstance(fault, FileNotFoundError):
        return "there is no such file"
    return str(fault).split("\n")[0][:200].rstrip(".")
