"""PUT, GET and DELETE /ai/models/{tenant:name}/traffic, predictions that go through it, and outcomes."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from django.core import signing

from omarino.authentication import Principal
from omarino.errors import HubError
from omarino.permissions import AI_USER
from registry import counting, serving, traffic
from registry.counting import COUNTERS
from registry.models import ModelVersion, Outcome, Stage, TrafficSplit, VariantCount
from tests.conftest import ClientOf
from tests.factories import make_version
from tests.registry import models_made

pytestmark = pytest.mark.django_db
MODEL = "/ai/models/alpha:site-load"
ROW = {"a": 0.5, "b": -1.0, "c": 2.0, "d": 0.0}
VALUES = [list(ROW.values())]


@pytest.fixture(autouse=True)
def nothing_counted() -> None:
    COUNTERS._counts.clear()


@pytest.fixture
def two(alice: Principal) -> tuple[ModelVersion, ModelVersion]:
    return (
        make_version(alice, version="v1.0.0", artifact=models_made.lightgbm_text(5), stage=Stage.PRODUCTION),
        make_version(alice, version="v1.1.0", artifact=models_made.lightgbm_text(20)),
    )


def share(client: Any, mode: str = "split", part: float = 0.5, challenger: str = "v1.1.0") -> Any:
    return client.put(f"{MODEL}/traffic", {"mode": mode, "challenger": challenger, "share": part})


def predict(client: Any, key: str | None = None, alias: str = "production") -> Any:
    options = {} if key is None else {"routing_key": key}
    return client.post(f"{MODEL}:{alias}/predict", {"input": ROW, "options": options}).json()


def test_each_caller_is_answered_by_one_version_and_the_share_is_kept(
    alice: Principal, client_of: ClientOf, two: Any
) -> None:
    client = client_of(alice)
    assert share(client, part=0.3).status_code == 200

    first = {key: predict(client, key)["model_id"] for key in map(str, range(200))}
    again = {key: predict(client, key)["model_id"] for key in map(str, range(200))}

    assert first == again
    challenged = sum(answered.endswith("v1.1.0") for answered in first.values())
    assert 30 <= challenged <= 90  # 60 expected, within nearly five standard deviations
    variants = client.get(f"{MODEL}/traffic").json()["variants"]
    assert variants["challenger"]["requests"] == 2 * challenged
    assert variants["production"]["requests"] == 2 * (200 - challenged)
    assert variants["production"]["latency_ms"]["p50_at_most"] > 0


def test_the_answer_is_the_versions_own_and_says_which(
    alice: Principal, client_of: ClientOf, two: Any
) -> None:
    client = client_of(alice)
    share(client, part=1.0)

    answer = predict(client)

    assert answer["model_id"] == "alpha:site-load:v1.1.0"
    assert answer["prediction"] == models_made.lightgbm_booster(20).predict(VALUES)[0]
    assert answer["traffic"]["variant"] == "challenger"
    assert "traffic" not in predict(client, alias="v1.0.0")
    assert "traffic" not in predict(client, alias="latest")


def test_without_a_key_the_subject_is_the_key(
    alice: Principal, bob: Principal, client_of: ClientOf, two: Any
) -> None:
    share(client_of(alice))
    split = TrafficSplit.objects.get()

    for who in (alice, bob):
        expected = "challenger" if traffic._share_of(split, who.subject) < 0.5 else "production"
        assert {predict(client_of(who))["traffic"]["variant"] for _ in range(3)} == {expected}


def test_a_batch_goes_to_one_version_and_counts_its_rows(
    alice: Principal, client_of: ClientOf, two: Any
) -> None:
    client = client_of(alice)
    share(client, part=1.0)

    answer = client.post(f"{MODEL}:production/batch-predict", {"inputs": [ROW] * 7}).json()

    assert answer["model_id"] == "alpha:site-load:v1.1.0"
    assert client.get(f"{MODEL}/traffic").json()["variants"]["challenger"]["rows"] == 7


def test_outcomes_are_kept_once_and_compared(alice: Principal, client_of: ClientOf, two: Any) -> None:
    client, rng = client_of(alice), np.random.default_rng(1)
    share(client)
    answers = [predict(client, str(key)) for key in range(60)]
    better = models_made.lightgbm_booster(20).predict(VALUES)[0]
    told = [
        {"prediction_id": each["traffic"]["prediction_id"], "actual": float(better + rng.normal(0, 0.01))}
        for each in answers
    ]

    assert client.post(f"{MODEL}/outcomes", {"outcomes": told}).json() == {"accepted": 60}
    assert client.post(f"{MODEL}/outcomes", {"outcomes": told[:5]}).json() == {"accepted": 0}

    report = client.get(f"{MODEL}/traffic").json()
    by_variant: dict[str, list[float]] = {"production": [], "challenger": []}
    for each, one in zip(answers, told, strict=True):
        by_variant[each["traffic"]["variant"]].append(abs(each["prediction"] - one["actual"]))
    for variant, errors in by_variant.items():
        assert report["variants"][variant]["outcomes"] == len(errors)
        assert report["variants"][variant]["mean_error"] == pytest.approx(np.mean(errors))
    interval = report["comparison"]["interval"]
    assert interval["method"] == "Welch's t"
    assert interval["lower"] < interval["difference"] < interval["upper"] < 0
    assert "lower" in report["comparison"]["said"]


def test_an_outcome_that_was_not_predicted_here_is_refused_and_none_is_kept(
    alice: Principal, charlie: Principal, client_of: ClientOf, two: Any
) -> None:
    client = client_of(alice)
    share(client)
    good = predict(client)["traffic"]["prediction_id"]
    make_version(charlie, artifact=models_made.lightgbm_text(5), stage=Stage.PRODUCTION)
    make_version(charlie, version="v1.1.0", artifact=models_made.lightgbm_text(6))
    other = client_of(charlie)
    other.put("/ai/models/gamma:site-load/traffic", {"mode": "split", "challenger": "v1.1.0"})
    theirs = other.post("/ai/models/gamma:site-load:production/predict", {"input": ROW}).json()["traffic"][
        "prediction_id"
    ]

    for bad, actual in (
        (theirs, 1.0),
        ("x", 1.0),
        (good[:-1] + "x", 1.0),
        (good, "high"),
        (signing.dumps(1), 1.0),
    ):
        body = {
            "outcomes": [{"prediction_id": good, "actual": 1.0}, {"prediction_id": bad, "actual": actual}]
        }
        response = client.post(f"{MODEL}/outcomes", body)
        assert (response.status_code, response.json()["code"]) == (422, "outcome_refused")
        assert response.json()["index"] == 1
    assert not Outcome.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_shadow_answers_nobody_and_is_compared_on_the_same_rows(
    alice: Principal, client_of: ClientOf, two: Any
) -> None:
    client = client_of(alice)
    share(client, "shadow", 1.0)

    answers = [predict(client, str(key)) for key in range(6)]
    traffic.SHADOWS.drain()
    told = [
        {"prediction_id": each["traffic"]["prediction_id"], "actual": 1.0 + index}
        for index, each in enumerate(answers)
    ]
    client.post(f"{MODEL}/outcomes", {"outcomes": told})

    assert {each["model_id"] for each in answers} == {"alpha:site-load:v1.0.0"}
    report = client.get(f"{MODEL}/traffic").json()
    assert report["variants"]["challenger"]["requests"] == 6
    assert report["comparison"]["interval"]["method"] == "paired t"
    shadow, answered = (float(models_made.lightgbm_booster(rounds).predict(VALUES)[0]) for rounds in (20, 5))
    expected = np.mean([abs(1.0 + i - shadow) - abs(1.0 + i - answered) for i in range(6)])
    assert report["comparison"]["interval"]["difference"] == pytest.approx(float(expected))


@pytest.mark.django_db(transaction=True)
def test_a_shadow_that_fails_or_is_slow_harms_nobody(
    alice: Principal, client_of: ClientOf, two: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = client_of(alice)
    share(client, "shadow", 1.0)
    real = serving.predict

    def slow(version: ModelVersion, rows: Any, **options: Any) -> Any:
        if version.version == "v1.1.0":
            time.sleep(0.02)
            raise HubError()
        return real(version, rows, **options)

    monkeypatch.setattr(serving, "predict", slow)
    monkeypatch.setattr(traffic.SHADOWS, "_free", type(traffic.SHADOWS._free)(2))
    answers = [predict(client) for _ in range(20)]
    traffic.SHADOWS.drain()

    assert {each["model_id"] for each in answers} == {"alpha:site-load:v1.0.0"}
    counted = client.get(f"{MODEL}/traffic").json()["variants"]["challenger"]
    assert counted["failures"] == counted["requests"]
    assert counted["requests"] + counted["dropped"] == 20


@pytest.mark.parametrize("version", ["v1.0.0", "v1.1.0"])
@pytest.mark.parametrize("verb", ["move", "delete"])
def test_a_version_that_moves_ends_the_split(
    alice: Principal, client_of: ClientOf, two: Any, version: str, verb: str
) -> None:
    client = client_of(alice)
    share(client)

    if verb == "delete":
        client.delete(f"{MODEL}:{version}?force=true")
    else:
        client.put(f"{MODEL}:{version}/promote", {"target_stage": "archived"})

    report = client.get(f"{MODEL}/traffic").json()
    assert not report["is_active"]
    assert version in report["end_reason"]
    if version == "v1.1.0":
        assert "traffic" not in predict(client)


def test_a_promotion_of_a_third_ends_it_too(alice: Principal, client_of: ClientOf, two: Any) -> None:
    make_version(alice, version="v2.0.0", artifact=models_made.lightgbm_text(7))
    client = client_of(alice)
    share(client)

    client.put(f"{MODEL}:v2.0.0/promote", {"target_stage": "production"})

    assert not client.get(f"{MODEL}/traffic").json()["is_active"]
    assert predict(client)["model_id"] == "alpha:site-load:v2.0.0"


def test_it_is_replaced_and_ended(alice: Principal, client_of: ClientOf, two: Any) -> None:
    client = client_of(alice)
    assert client.get(f"{MODEL}/traffic").json()["code"] == "no_traffic"
    assert client.delete(f"{MODEL}/traffic").json()["code"] == "no_traffic"

    share(client)
    second = share(client, part=0.2).json()
    ended = client.delete(f"{MODEL}/traffic").json()

    assert (second["share"], second["is_active"]) == (0.2, True)
    assert (ended["split_id"], ended["is_active"], ended["end_reason"]) == (
        second["split_id"],
        False,
        "ended by alice",
    )
    assert TrafficSplit.objects.filter(ended_at=None).count() == 0


@pytest.mark.parametrize(
    ("challenger", "said"),
    [("v1.0.0", "another registered version"), ("v9.0.0", "another registered"), ("v3.0.0", "same features")],
)
def test_what_cannot_be_shared_is_refused(
    alice: Principal, client_of: ClientOf, two: Any, challenger: str, said: str
) -> None:
    make_version(alice, version="v3.0.0", artifact=models_made.onnx_linear(), artifact_format="onnx")

    response = share(client_of(alice), challenger=challenger)

    assert (response.status_code, response.json()["code"]) == (409, "traffic_refused")
    assert said in response.json()["detail"]


def test_reading_is_not_setting_up(alice: Principal, client_of: ClientOf, two: Any) -> None:
    assert share(client_of(alice, roles=frozenset({AI_USER}))).status_code == 403


def test_counts_are_written_together_and_added_up(
    alice: Principal, client_of: ClientOf, two: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    share(client_of(alice))
    split = TrafficSplit.objects.get()
    now = [0.0]
    counters = counting.Counters(clock=lambda: now[0])

    for _ in range(3):
        counters.add(split.pk, "production", rows=1, took_ms=1.5)
    assert not VariantCount.objects.exists()
    now[0] = 3.0
    counters.add(split.pk, "production", rows=1, took_ms=1.5, failed=True)
    counters.add(split.pk, "production", rows=5, took_ms=700)
    counters.flush()

    row = VariantCount.objects.get()
    assert (row.requests, row.rows, row.failures, row.latency_ms) == (5, 9, 1, 706.0)
    assert (row.buckets[1], row.buckets[9], sum(row.buckets)) == (4, 1, 5)
