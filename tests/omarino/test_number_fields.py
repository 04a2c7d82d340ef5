"""Numbers in bodies."""

from __future__ import annotations

from typing import Any

import pytest

from omarino.authentication import Principal
from tests.conftest import ClientOf

TRAFFIC = "/ai/models/alpha:load/traffic"
GATES = "/ai/models/alpha:load/gates"
SPLIT = {"mode": "shadow", "challenger": "v2.0.0"}
WHOLE = {
    "horizon_hours": ("/ai/forecast", {"forecast_type": "load"}),
    "interval_minutes": ("/ai/forecast", {"forecast_type": "load"}),
    "lookback_hours": ("/ai/anomaly", {}),
    "every_minutes": ("/ai/anomaly/watches", {}),
    "silent_after_hours": ("/ai/anomaly/watches", {}),
    "max_samples": ("/ai/explain", {"model_name": "load"}),
    "step": ("/ai/explain", {"model_name": "load"}),
    "dataset_sample_size": ("/ai/explain/global", {"model_name": "load"}),
}
ANY = {"sensitivity": ("/ai/anomaly", {}), "share": (TRAFFIC, SPLIT)}


@pytest.mark.parametrize("wrong", ["12", "12.0", True, 12.5, 10**17])
@pytest.mark.parametrize("field", WHOLE)
def test_a_whole_number_is_no_text_and_no_yes(
    field: str, wrong: Any, alice: Principal, client_of: ClientOf
) -> None:
    url, rest = WHOLE[field]

    response = client_of(alice).post(
        url, {"tenant_id": "alpha", "asset_id": "main-meter", **rest, field: wrong}
    )

    assert response.status_code == 422, response.content
    assert [error["field"] for error in response.json()["errors"]] == [field]


@pytest.mark.parametrize("wrong", ["1", True])
@pytest.mark.parametrize("field", ANY)
def test_a_number_is_no_text_and_no_yes(
    field: str, wrong: Any, alice: Principal, client_of: ClientOf
) -> None:
    url, rest = ANY[field]

    client = client_of(alice)
    send = client.put if url == TRAFFIC else client.post
    response = send(url, {"tenant_id": "alpha", "asset_id": "main-meter", **rest, field: wrong})

    assert response.status_code == 422, response.content
    assert [error["field"] for error in response.json()["errors"]] == [field]


def test_the_percent_of_a_gate_is_a_number(alice: Principal, client_of: ClientOf) -> None:
    response = client_of(alice).put(GATES, {"not_worse": [{"metric": "mae", "percent": "5"}]})

    assert response.status_code == 422, response.content
    assert [error["field"] for error in response.json()["errors"]] == ["not_worse.0.percent"]
