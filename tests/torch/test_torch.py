"""torch.export and TorchScript: served like other models, by a process that reaches nothing."""

from __future__ import annotations

import base64
import io
import json
import os
import pickle
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from omarino.authentication import Principal
from registry.formats import ArtifactRefused, Declared, Limits, load
from registry.formats.runner import ROOT
from registry.quarantine import open_apart
from registry.tables import ARROW
from tests.conftest import ClientOf
from tests.factories import make_readings
from tests.forecasting import test_forecast_by_registered_model as registered_model
from tests.registry import models_made

ENDLESS, GREEDY, CURIOUS = 11.0, 22.0, 33.0  # as in networks.py


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("torch")
    (folder / "rows.json").write_text(json.dumps(models_made.data()[0][:3].tolist()))
    (folder / "weights.json").write_text(json.dumps(registered_model.Weighted.weights))
    subprocess.run([sys.executable, "-m", "tests.torch.networks", str(folder)], cwd=ROOT, check=True)
    return folder


@pytest.mark.django_db
@pytest.mark.parametrize("file", ["network.pt2", "network.pt"])
def test_it_answers_what_pytorch_answers(
    alice: Principal, client_of: ClientOf, made: Path, file: str
) -> None:
    client, names = client_of(alice), models_made.NAMES
    expected = json.loads((made / "said.json").read_text())
    columns = {name: models_made.data()[0][:3, index].tolist() for index, name in enumerate(names)}
    body = {
        "tenant_id": "alpha",
        "model_name": "deep",
        "version": "v1.0.0",
        "metadata": {"framework": "pytorch", "feature_names": names},
        "model_file": base64.b64encode((made / file).read_bytes()).decode(),
    }
    address = "/ai/models/alpha:deep:v1.0.0"

    registered = client.post("/ai/models/register", body)
    assert registered.status_code == 201, registered.json()
    one = client.post(f"{address}/predict", {"input": {name: columns[name][0] for name in names}}).json()
    by_column = client.post(f"{address}/batch-predict", {"columns": columns}).json()
    table, sink = pa.table(columns), pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    by_arrow = client.generic(
        "POST", f"{address}/batch-predict", sink.getvalue().to_pybytes(), ARROW, HTTP_ACCEPT=ARROW
    )

    assert one["prediction"] == pytest.approx(expected[0], abs=1e-6)
    np.testing.assert_allclose(by_column["predictions"], expected, atol=1e-6)
    read = pa.ipc.open_stream(by_arrow.content).read_all()
    np.testing.assert_allclose(read.column("prediction").to_numpy(), expected, atol=1e-6)


@pytest.mark.django_db
def test_it_forecasts_step_by_step(alice: Principal, client_of: ClientOf, made: Path) -> None:
    make_readings(alice, registered_model.load(), start=registered_model.START)

    registered_model.network_forecasts(client_of(alice), (made / "weighted.pt2").read_bytes())


def test_code_that_waits_for_its_moment_gets_no_time_no_memory_and_no_file(made: Path) -> None:
    """It passes every trial, and does harm when it is asked a number of its own."""
    content, declared = (made / "hostile.pt").read_bytes(), Declared(feature_count=4)
    portrait, held = open_apart(made / "hostile.pt", seconds=60, memory_mb=4096, declared=declared)
    assert (portrait.format, portrait.feature_count, "seccomp" in held) == ("torchscript", 4, True)
    predictor = load("torchscript", content, declared, Limits(3, 4096))

    assert predictor.predict(np.full((2, 4), 7.0)).values.tolist() == [7.0, 7.0]
    with pytest.raises(ValueError, match="alloc"):
        predictor.predict(np.full((1, 4), GREEDY))
    with pytest.raises(ValueError, match="Operation not permitted"):
        predictor.predict(np.full((1, 4), CURIOUS))
    assert predictor.predict(np.full((1, 4), 7.0)).values.tolist() == [7.0]
    began = time.monotonic()
    with pytest.raises(ValueError, match=r"longer than 3 s|ended"):
        predictor.predict(np.full((1, 4), ENDLESS))
    assert time.monotonic() - began < 30
    assert predictor.is_over


class _Runs:
    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.proof}",)


def with_pickle(content: bytes, part: str, proof: Path) -> bytes:
    source, sink = zipfile.ZipFile(io.BytesIO(content)), io.BytesIO()
    with zipfile.ZipFile(sink, "w") as container:
        for name in source.namelist():
            container.writestr(name, pickle.dumps(_Runs(proof)) if name.endswith(part) else source.read(name))
    return sink.getvalue()


@pytest.mark.parametrize(
    ("file", "part"), [("network.pt", "/data.pkl"), ("network.pt2", "sample_inputs/model.pt")]
)
def test_a_pickle_inside_runs_nothing(made: Path, tmp_path: Path, file: str, part: str) -> None:
    artifact, proof = tmp_path / "artifact", tmp_path / "proof"
    artifact.write_bytes(with_pickle((made / file).read_bytes(), part, proof))

    with pytest.raises(ArtifactRefused):
        open_apart(artifact, seconds=60, memory_mb=4096, declared=Declared(feature_count=4))

    assert not proof.exists()


@pytest.mark.parametrize(
    ("file", "said"), [("fixed.pt2", "number of rows is fixed"), ("network.pt", "metadata.feature_names")]
)
def test_what_cannot_be_asked_is_refused_with_what_to_do(made: Path, file: str, said: str) -> None:
    with pytest.raises(ArtifactRefused, match=said):
        open_apart(made / file, seconds=60, memory_mb=4096)
