"""A Parquet file that somebody sent, unpacked into an Arrow stream in a process that is thrown away.

pyarrow ends the process (std::terminate) for some files whose footer was edited by hand, so none of a caller's is opened
in a process that serves.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Never

from omarino.confinement import limit_yourself
from omarino.errors import Outage

ROOT = str(Path(__file__).resolve().parent.parent)
RUN = "import sys; sys.path.insert(0, sys.argv.pop(1)); from omarino.parquet_apart import main; main(*map(int, sys.argv[1:]))"
SECONDS, START_S = 20, 30.0
MEMORY_MB = 2048
MOST_PIECES = 10_000
AT_ONCE = threading.Semaphore(2)
WAIT_S = 10.0
BATCH_ROWS = 1 << 17
STREAM, REFUSAL = b"S", b"R"


class UnpackingBusy(Outage):
    code = "unpacking_busy"
    detail = "Other Parquet files are being unpacked at this moment. Send it again shortly."


class ParquetRefused(Exception):
    """It is damaged, too long or too large; the text says which, and goes on a sentence that begins with the file."""


def unpacked(body: bytes, *, max_rows: int, max_bytes: int) -> bytes:
    """The same table as an uncompressed Arrow stream of at most about `max_bytes`. Raises ParquetRefused."""
    if not AT_ONCE.acquire(timeout=WAIT_S):
        raise UnpackingBusy()
    try:
        ended = subprocess.run(
            [sys.executable, "-I", "-B", "-c", RUN, ROOT, str(max_rows), str(max_bytes)],
            input=body,
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "LC_ALL": "C.UTF-8"},
            cwd="/",
            timeout=SECONDS + START_S,
        )
    except subprocess.TimeoutExpired:
        raise ParquetRefused(f"unpacking it took longer than {SECONDS} s") from None
    finally:
        AT_ONCE.release()
    if ended.returncode == 0 and ended.stdout.startswith(STREAM):
        return ended.stdout[1:]
    if ended.returncode == 0 and ended.stdout.startswith(REFUSAL):
        raise ParquetRefused(ended.stdout[1:4096].decode(errors="replace"))
    raise ParquetRefused("the process that unpacked it ended without an answer: it is damaged or too large")


def main(max_rows: int, max_bytes: int) -> None:
    """In that process: the file is standard input, the stream or the reason standard output."""
    body = sys.stdin.buffer.read()
    answer_to = os.dup(1)
    os.dup2(2, 1)  # what a library prints is no answer

    def give(kind: bytes, content: bytes) -> Never:
        with open(answer_to, "wb") as out:  # noqa: PTH123  a descriptor
            out.write(kind)
            out.write(content)
        os._exit(0)

    import pyarrow as pa
    import pyarrow.parquet

    limit_yourself(seconds=SECONDS, memory_mb=MEMORY_MB)
    pa.set_cpu_count(1)
    try:
        file = pyarrow.parquet.ParquetFile(pa.BufferReader(body))
        if not 0 <= file.metadata.num_rows <= max_rows:
            give(REFUSAL, f"it has more than {max_rows} rows".encode())
        if file.metadata.num_row_groups > MOST_PIECES:
            give(REFUSAL, f"it is cut into more than {MOST_PIECES} pieces".encode())
        sink = pa.BufferOutputStream()
        with pyarrow.ipc.new_stream(sink, file.schema_arrow.remove_metadata()) as writer:
            for batch in file.iter_batches(batch_size=min(max_rows, BATCH_ROWS), use_threads=False):
                writer.write_batch(batch)
                if sink.tell() > max_bytes:
                    give(REFUSAL, f"it unpacks to more than {max_bytes} bytes".encode())
        give(STREAM, sink.getvalue().to_pybytes())
    except (pa.ArrowException, OSError, MemoryError) as fault:
        give(REFUSAL, f"it cannot be read ({str(fault).splitlines()[0][:200].rstrip('.')})".encode())
