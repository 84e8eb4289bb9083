"""The price of an hour is that of the price list, or unknown."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from local_test.remote import prices
from local_test.remote.access import Account
from local_test.remote.prices import Price


def product(usage: str, *dollars: str) -> str:
    dimensions = {
        f"rate{number}": {"pricePerUnit": {"USD": price}} for number, price in enumerate(dollars)
    }
    return json.dumps(
        {
            "product": {"attributes": {"usagetype": usage}},
            "terms": {"OnDemand": {"term": {"priceDimensions": dimensions}}, "Reserved": {}},
            "publicationDate": "2026-11-01T00:00:00Z",
        }
    )


def find(monkeypatch: pytest.MonkeyPatch, answer: list[str] | None, kind: str) -> Any:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    client = boto3.client("pricing", region_name="us-east-1")
    account = Account(SimpleNamespace(region_name="us-east-1"), "1" * 12, "aws", "arn")
    monkeypatch.setattr(prices, "make_price_client", lambda _: client)
    with Stubber(client) as stubber:
        if answer is None:
            stubber.add_client_error("get_products", "AccessDeniedException", "no")
        else:
            stubber.add_response("get_products", {"PriceList": answer})
        return prices.find_price(account, "ml.m5.large", kind)


def test_the_price_is_that_of_the_kind_of_job(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = [
        product("USE1-Train:ml.m5.large", "1.25"),
        product("USE1-Host:ml.m5.large", "1.5"),
        product("USE1-TrainWarmPool:ml.m5.large", "9"),
    ]
    price = find(monkeypatch, answer, "Training")
    assert price.dollars_per_hour == 1.25
    assert prices.describe(price, "ml.m5.large", 4) == (
        "4 x ml.m5.large: $5 an hour (AWS price list of 2026-11-01)"
    )


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (None, "these credentials may not call GetProducts"),
        ([], "the price list has 0 prices for ml.m5.large in us-east-1"),
        ([product("USE1-Train:ml.m5.large", "1", "2")], "the price list has 2 prices"),
    ],
)
def test_a_price_that_is_not_certain_is_unknown(
    monkeypatch: pytest.MonkeyPatch, answer: list[str] | None, reason: str
) -> None:
    price = find(monkeypatch, answer, "Training")
    assert not isinstance(price, Price)
    assert price.startswith(reason)
    assert "the price is unknown" in prices.describe(price, "ml.m5.large", 1)
