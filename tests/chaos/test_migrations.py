"""A migration that takes away what hot routes read, and gives it back, while they are asked."""

from __future__ import annotations

import time

from tests.chaos.conftest import Tell
from tests.chaos.product import Product

BACK_TO = "0001"  # before a column of every forecast, and the tables of their quality


def test_tables_are_migrated_back_and_forward_under_load(product: Product, tell: Tell) -> None:
    with product.load(more=[("GET", "/ai/forecasts/quality", None)]) as load:
        product.manage("migrate", "forecasting", BACK_TO, "--verbosity", "0")
        load.wait_until(lambda: load.kinds["503"])
        product.manage("migrate", "--verbosity", "0")
        back = time.monotonic()
        load.until_steady()

    assert set(load.kinds) == {"200", "503"}
    assert load.unsaid == []
    assert set(load.codes) <= {"database_migrating", "database_unavailable"}
    assert product.lost(load) == []
    assert load.failed_for(back) < 5
    tell("A migration taken back and applied under load", load, recovered_s=load.failed_for(back))
