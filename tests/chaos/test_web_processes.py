"""A web process that is killed, that is sent too much or too slowly, that is given a model which eats memory."""

from __future__ import annotations

import base64
import http.client
import json
import signal
import socket
import time
from contextlib import ExitStack, suppress
from itertools import cycle, islice
from typing import Any

import httpx
import onnx
from onnx import TensorProto, helper

from tests.chaos.conftest import Tell
from tests.chaos.load import FORECAST
from tests.chaos.product import Product, eventually
from tests.registry import hostile_onnx, models_made

MIB = 1_048_576


def pids(product: Product) -> set[int]:
    return {process.pid for process in product.workers("granian")}


def serve(product: Product, among: set[int]) -> bool:
    """Whether two web processes are there, none of them of those."""
    now = pids(product)
    return len(now) == 2 and not now & among


def memory_mb(product: Product) -> float:
    return max(process.memory_info().rss for process in product.workers("granian")) / MIB


def worker_memory_mb(product: Product) -> float:
    return max(process.memory_info().rss for process in product.workers("worker")) / MIB


def test_a_killed_web_process_costs_only_what_it_had_in_hand(product: Product, tell: Tell) -> None:
    before = pids(product)
    with product.load(clients=4) as load:
        victim = product.workers("granian")[0]
        began = time.monotonic()
        victim.send_signal(signal.SIGKILL)
        eventually(lambda: len(pids(product) - {victim.pid}) == 2)
        replaced = time.monotonic() - began
        load.until_steady()

    assert len(pids(product) & before) == 1
    assert set(load.errors) <= {"cut off"}  # the connections it held, and nobody is told a wrong thing
    assert load.errors.get("cut off", 0) <= 8
    assert product.lost(load) == []
    tell("kill -9 of a web process", load, recovered_s=max(replaced, load.failed_for(began)))


def test_all_web_processes_killed_are_back_without_a_hand(product: Product, tell: Tell) -> None:
    before = {product.leader("granian").pid, *pids(product)}
    with product.load(clients=4) as load:
        began = time.monotonic()
        product.kill_all("granian")
        load.wait_until(lambda: load.errors)
        eventually(lambda: product.leader("granian").pid not in before)
        load.until_steady()

    assert set(load.errors) <= {"cut off", "refused"}
    assert product.lost(load) == []
    assert "web was killed by signal 9 and is started again." in product.up.said
    tell("kill -9 of the whole web server", load, recovered_s=load.failed_for(began))


def test_two_hundred_megabytes_are_refused_before_they_are_held(product: Product, tell: Tell) -> None:
    before, held = pids(product), memory_mb(product)
    block, size = bytes(MIB), 200 * MIB
    most = held
    with product.load(clients=2) as load:
        connection = http.client.HTTPConnection("127.0.0.1", product.up.port, timeout=60)
        connection.putrequest("POST", "/ai/forecast")
        for name, value in {**product.signed(product.token), "Content-Type": "application/json"}.items():
            connection.putheader(name, value)
        connection.putheader("Content-Length", str(size))
        connection.endheaders()
        with suppress(ConnectionError):  # the answer may come before all of it is sent
            for _ in range(size // len(block)):
                connection.send(block)
                most = max(most, memory_mb(product))
        answer = connection.getresponse()
        assert (answer.status, json.load(answer)["code"]) == (413, "body_too_large")
        with suppress(
            ConnectionError, http.client.HTTPException
        ):  # ended, or as good as new: nothing in between
            connection.request("GET", "/health")
            assert connection.getresponse().status == 200
        connection.close()
        load.until_steady()

    assert load.errors == {}
    assert pids(product) == before
    assert most - held < 60
    tell("A body of 200 MB", load)


def slow_bodies(product: Product, count: int) -> list[socket.socket]:
    """Each says that more follows, sends a byte and falls silent: by turns a person's form, and a forecast with a token,
    short and long."""
    signed = f"Host: localhost\r\nAuthorization: Bearer {product.token}\r\nContent-Type: application/json\r\n"
    form = f"Host: localhost\r\nCookie: csrftoken={'a' * 32}\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    kinds = cycle(
        [("/admin/login/", form, 5_000), ("/ai/forecast", signed, 5_000), ("/ai/forecast", signed, 5_000_000)]
    )
    opened = []
    for path, head, length in islice(kinds, count):
        connection = socket.create_connection(("127.0.0.1", product.up.port), timeout=60)
        connection.sendall(f"POST {path} HTTP/1.1\r\n{head}Content-Length: {length}\r\n\r\nx".encode())
        opened.append(connection)
    return opened


def test_forty_slow_bodies_cost_nobody_else_an_answer(product: Product, tell: Tell) -> None:
    before = pids(product)
    with product.load(clients=2) as load, ExitStack() as open_until_then:
        began = time.monotonic()
        slow = [open_until_then.enter_context(each) for each in slow_bodies(product, 40)]
        for _ in range(10):
            assert httpx.get(f"{product.address}/health", timeout=5).status_code == 200
            assert product.ask("POST", "/ai/forecast", json=FORECAST, timeout=15).status_code == 200
        assert time.monotonic() - began < 18, "the slow ones were gone before"
        said = {connection.recv(65536)[:12] for connection in slow}
        load.until_steady()

    assert said == {b"HTTP/1.1 408"}
    assert load.errors == {}
    assert load.slowest_s < 10
    assert pids(product) == before
    tell("40 bodies that stop after a byte", load)


def table(name: str, rows: str) -> Any:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [rows, 4])


def model_that_eats_memory_when_opened() -> bytes:
    """40,000 x 40,000 numbers in a few bytes."""
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [40_000, 40_000])
    return finished(
        [
            helper.make_node("ConstantOfShape", ["shape"], ["huge"]),
            helper.make_node("ReduceMax", ["huge"], ["most"], keepdims=0),
            helper.make_node("ReduceSum", ["x", "columns"], ["sum"], keepdims=1),
            helper.make_node("Add", ["sum", "most"], ["y"]),
        ],
        [shape],
    )


def model_that_makes_the_square_of_its_rows() -> bytes:
    """A batch of 100,000 at once would take 40 GB."""
    return finished(
        [
            helper.make_node("Transpose", ["x"], ["turned"], perm=[1, 0]),
            helper.make_node("MatMul", ["x", "turned"], ["square"]),
            helper.make_node("ReduceSum", ["square", "columns"], ["y"], keepdims=1),
        ],
        [],
    )


def finished(nodes: list[Any], tensors: list[Any]) -> bytes:
    columns = helper.make_tensor("columns", TensorProto.INT64, [1], [1])
    answer = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 1])
    graph = helper.make_graph(nodes, "g", [table("x", "n")], [answer], [*tensors, columns])
    made: onnx.ModelProto = models_made.onnx_model(graph)
    return bytes(made.SerializeToString())


def register_hungry(product: Product, number: int, model: bytes) -> httpx.Response:
    body = {
        "tenant_id": "demo",
        "model_name": "hungry",
        "version": f"v1.0.{number}",
        "model_type": "forecast",
        "metadata": {"framework": "onnx", "feature_names": ["a", "b", "c", "d"]},
        "model_file": base64.b64encode(model).decode(),
    }
    return product.ask("POST", "/ai/models/register", json=body)


def test_a_model_that_eats_memory_is_refused_and_its_web_process_lives(product: Product, tell: Tell) -> None:
    """Also the one that would eat it only where a row says so: it could be asked by a request or by a worker."""
    before, held, workers = pids(product), memory_mb(product), worker_memory_mb(product)
    models = {
        model_that_eats_memory_when_opened(): "the operator ConstantOfShape is not taken: it makes 1,600,000,000",
        hostile_onnx.hungry(): "the operator ConstantOfShape is not taken: what it takes for shape is computed",
        hostile_onnx.HUNGRY["rows times rows"][0]: "the operator Add is not taken",
    }
    row = dict.fromkeys("abcd", 4e8)
    with product.load(clients=2) as load:
        for number, (model, named) in enumerate(models.items()):
            answer = register_hungry(product, number, model)
            assert (answer.status_code, answer.json().get("code")) == (422, "artifact_refused"), answer.text
            assert named in answer.json()["detail"]
        question = {"tenant_id": "demo", "model_name": "hungry", "model_version": "v1.0.1", "dataset": [row]}
        asked = [
            product.ask("POST", "/ai/models/demo:hungry:v1.0.1/predict", json={"input": row}),
            product.ask("POST", "/ai/explain/global", json=question),
        ]

    assert [answer.status_code for answer in asked] == [404, 404], [answer.text for answer in asked]
    assert load.errors == {}
    assert pids(product) == before
    assert memory_mb(product) - held < 60
    assert worker_memory_mb(product) - workers < 60
    assert product.sql("SELECT 1 FROM registry_registeredmodel WHERE name = 'hungry'") == []
    tell("A model that eats all memory", load)


def test_a_model_that_makes_the_square_of_its_rows_is_asked_by_few_at_a_time(
    product: Product, tell: Tell
) -> None:
    before, held = pids(product), memory_mb(product)
    assert register_hungry(product, 0, model_that_makes_the_square_of_its_rows()).status_code == 201
    with product.load(clients=2) as load:
        columns = {name: [1.0] * 20_000 for name in "abcd"}
        answer = product.ask("POST", "/ai/models/demo:hungry:v1.0.0/batch-predict", json={"columns": columns})

    assert (answer.status_code, answer.json()["count"]) == (200, 20_000)
    assert load.errors == {}
    assert pids(product) == before
    assert memory_mb(product) - held < 150  # onnxruntime itself, which is imported for it, is most of that
    assert product.ask("DELETE", "/ai/models/demo:hungry:v1.0.0").status_code in (200, 204)
    tell("A model that makes the square of its rows", load)
