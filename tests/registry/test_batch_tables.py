"""POST /ai/models/{id}/batch-predict with an Arrow or Parquet body, and such answers."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from omarino.authentication import Principal
from registry.models import ModelVersion
from registry.tables import ARROW, PARQUET
from tests.conftest import ClientOf
from tests.factories import make_version
from tests.registry import models_made

pytestmark = pytest.mark.django_db
ADDRESS = "/ai/models/alpha:site-load:v1.0.0/batch-predict"


@pytest.fixture
def version(alice: Principal) -> ModelVersion:
    return make_version(alice, artifact=models_made.lightgbm_text())


def table(rows: int = 50) -> pa.Table:
    return pa.table({name: models_made.data()[0][:rows, index] for index, name in enumerate("abcd")})


def stream(content: pa.Table, **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, content.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(content)
    return bytes(sink.getvalue().to_pybytes())


def parquet(content: pa.Table, **options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(content, sink, **options)
    return sink.getvalue()


def send(client: Any, body: bytes, kind: str = ARROW, *, accept: str = "*/*", query: str = "") -> Any:
    return client.generic("POST", ADDRESS + query, body, kind, headers={"Accept": accept})


def read(response: Any) -> pa.Table:
    assert response.status_code == 200, response.content
    if response["Content-Type"] == PARQUET:
        return pq.read_table(io.BytesIO(response.content))
    assert response["Content-Type"] == ARROW
    return pa.ipc.open_stream(response.content).read_all()


@pytest.mark.parametrize("accept", [ARROW, PARQUET])
@pytest.mark.parametrize("kind", [ARROW, PARQUET])
def test_tables_in_and_out_say_what_json_says(
    alice: Principal, client_of: ClientOf, version: ModelVersion, kind: str, accept: str
) -> None:
    client = client_of(alice)
    body = stream(table()) if kind == ARROW else parquet(table(), compression="zstd")

    answer = read(send(client, body, kind, accept=accept))

    expected = np.asarray(models_made.lightgbm_booster().predict(models_made.data()[0][:50])).tolist()
    assert answer.column("prediction").to_pylist() == expected
    assert answer.schema.metadata[b"model_id"].decode() == str(version)
    assert send(client, body, kind).json()["predictions"] == expected
    columns = {name: table().column(name).to_pylist() for name in "abcd"}
    assert read(client.post(ADDRESS, {"columns": columns}, headers={"Accept": accept})) == answer


def test_the_order_of_columns_and_the_kind_of_number_are_free(
    alice: Principal, client_of: ClientOf, version: ModelVersion
) -> None:
    whole = pa.table(
        {
            "d": pa.array([1, 2], pa.uint8()),
            "c": pa.array([1, 2], pa.int64()),
            "b": pa.array([0.5, 0.25], pa.float16()),
            "a": pa.array([1, 2], pa.float32()),
        }
    )

    answer = send(client_of(alice), stream(whole)).json()

    rows = [[1, 0.5, 1, 1], [2, 0.25, 2, 2]]
    assert answer["predictions"] == np.asarray(models_made.lightgbm_booster().predict(rows)).tolist()


def test_null_and_nan_are_both_missing(alice: Principal, client_of: ClientOf, version: ModelVersion) -> None:
    rest = {name: [1.0, 1.0] for name in "bcd"}
    client = client_of(alice)

    answer = send(client, stream(pa.table({"a": pa.array([None, np.nan], from_pandas=False), **rest}))).json()

    expected = float(models_made.lightgbm_booster().predict([[np.nan, 1, 1, 1]])[0])
    assert answer["predictions"] == [expected, expected]
    endless = send(client, stream(pa.table({"a": [1.0, np.inf], **rest})))
    assert (endless.status_code, endless.json()["code"]) == (422, "input_refused")


def test_a_model_that_takes_no_missing_values_names_the_place(alice: Principal, client_of: ClientOf) -> None:
    make_version(alice, artifact=models_made.skops_ridge(), artifact_format="skops")
    columns = {f"f{index}": [1.0, 1.0] for index in range(4)}

    response = send(client_of(alice), stream(pa.table({**columns, "f2": [1.0, None]})))

    assert response.status_code == 422
    assert "f2 of row 1 is null" in response.json()["detail"]


def test_importance_and_probabilities_are_columns(alice: Principal, client_of: ClientOf) -> None:
    make_version(alice, artifact=models_made.lightgbm_text(20, "multiclass"))

    answer = read(
        send(
            client_of(alice),
            stream(table(5)),
            accept=ARROW,
            query="?includeConfidence=true&includeFeatureImportance=true",
        )
    )

    assert answer.column_names == [
        *("prediction", "confidence", "probability_0", "probability_1", "probability_2"),
        *("importance_a", "importance_b", "importance_c", "importance_d", "base_value"),
    ]
    assert answer.num_rows == 5


A = {"a": [1.0], "b": [1.0], "c": [1.0], "d": [1.0]}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({**A, "d": pa.array(["x"])}, "'d' is string"),
        ({**A, "d": pa.array(["x"]).dictionary_encode()}, "'d' is dictionary"),
        ({**A, "d": pa.array([1]).cast(pa.decimal128(20, 1))}, "'d' is decimal128(20, 1)"),
        ({**A, "d": [[1.0]]}, "'d' is list"),
        ({**A, "d": [{"x": 1.0}]}, "'d' is struct"),
        ({**A, "d": [True]}, "'d' is bool"),
        ({**A, "d": pa.nulls(1)}, "'d' is null"),
        ({name: pa.array([], pa.float64()) for name in "abcd"}, "no rows"),
        ({}, "no rows"),
        ({name: np.zeros(100_001) for name in "abcd"}, "more than 100000 rows"),
    ],
)
@pytest.mark.parametrize("kind", [ARROW, PARQUET])
def test_what_is_no_table_of_numbers_is_refused_by_name(
    alice: Principal, client_of: ClientOf, version: ModelVersion, kind: str, content: Any, said: str
) -> None:
    body = stream(pa.table(content)) if kind == ARROW else parquet(pa.table(content))

    response = send(client_of(alice), body, kind)

    assert (response.status_code, response.json()["code"]) == (422, "table_refused")
    assert said in response.json()["detail"]


def test_missing_and_unknown_columns_are_named(
    alice: Principal, client_of: ClientOf, version: ModelVersion
) -> None:
    response = send(client_of(alice), stream(pa.table({"a": [1.0], "b": [1.0], "c": [1.0], "D": [1.0]})))

    assert (response.status_code, response.json()["code"]) == (422, "input_refused")
    assert (response.json()["missing_features"], response.json()["unknown_features"]) == (["d"], ["D"])


def test_a_column_given_twice_is_refused(
    alice: Principal, client_of: ClientOf, version: ModelVersion
) -> None:
    twice = pa.Table.from_arrays([pa.array([1.0])] * 5, names=["a", "b", "c", "d", "a"])

    assert "two columns are called 'a'" in send(client_of(alice), stream(twice)).json()["detail"]


def bombs() -> dict[str, tuple[bytes, str]]:
    zeros = pa.table({name: np.zeros(100_000) for name in "abcd"})
    many = pa.table({f"f{index}": np.zeros(100_000) for index in range(200)})
    return {
        "a packed stream": (stream(zeros, compression="zstd"), ARROW),
        "a file that unpacks to 160 MB": (parquet(many, compression="zstd", use_dictionary=False), PARQUET),
        "a stream cut": (stream(table())[:-100], ARROW),
        "a file cut": (parquet(table())[:-100], PARQUET),
        "letters": (b"x" * 1000, ARROW),
        "a magic alone": (b"PAR1" * 100, PARQUET),
        "one under the other's name": (parquet(table()), ARROW),
        "a file that ends pyarrow's process": (edited_parquet(), PARQUET),
    }


def edited_parquet() -> bytes:
    """A byte of the statistics in the footer changed: pyarrow 26 calls std::terminate."""
    content = bytearray(parquet(pa.table({"a": [1.0, None, 3.0], "b": pa.array([1, 2, 3], pa.int32())})))
    generator = np.random.default_rng(1)
    for _ in range(int(generator.integers(1, 6))):
        content[int(generator.integers(len(content)))] = int(generator.integers(256))
    return bytes(content)


@pytest.mark.parametrize("name", list(bombs()))
def test_hostile_tables_are_answered(
    alice: Principal, client_of: ClientOf, version: ModelVersion, name: str
) -> None:
    body, kind = bombs()[name]

    response = send(client_of(alice), body, kind)

    assert (response.status_code, response.json()["code"]) == (422, "table_refused")


def test_bytes_changed_anywhere_are_refused_or_read(
    alice: Principal, client_of: ClientOf, version: ModelVersion
) -> None:
    whole, generator, client = stream(table(3)), np.random.default_rng(2), client_of(alice)

    for _ in range(300):
        body = bytearray(whole)
        for _ in range(int(generator.integers(1, 4))):
            body[int(generator.integers(len(body)))] = int(generator.integers(256))
        assert send(client, bytes(body)).status_code in (200, 422)


def test_other_kinds_are_not_taken(alice: Principal, client_of: ClientOf, version: ModelVersion) -> None:
    assert send(client_of(alice), b"a,b,c,d\n1,1,1,1\n", "text/csv").status_code == 415
    assert send(client_of(alice), stream(table()), accept="text/csv").status_code == 406


def test_nothing_is_no_table(alice: Principal, client_of: ClientOf, version: ModelVersion) -> None:
    assert send(client_of(alice), b"").status_code == 422
