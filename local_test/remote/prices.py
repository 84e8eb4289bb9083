"""What an hour costs, by the price list of AWS; never by a table that grows old."""

import json
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from container.errors import PlatformError, UserError
from local_test.remote.access import Account, make_price_client
from local_test.remote.refusals import explaining

USAGES: Final = {
    "Training": "Train",
    "Processing": "Processing",
    "Transform": "Tsform",
    "Endpoint": "Host",
}
"""The word in the price list's usage types, such as `USE1-Train:ml.m5.large`, by kind."""


@dataclass(frozen=True)
class Price:
    """The price of an instance on demand."""

    dollars_per_hour: Decimal
    published: str
    """Date of the price list, such as `2026-08-11`."""


def find_price(account: Account, instance_type: str, kind: str) -> Price | str:
    """Return the price of an hour in the account's region, or the reason why it is unknown."""
    filters = [
        {"Type": "TERM_MATCH", "Field": field, "Value": value}
        for field, value in (("regionCode", account.region), ("instanceName", instance_type))
    ]
    try:
        with explaining():
            answer = make_price_client(account).get_products(
                ServiceCode="AmazonSageMaker", Filters=filters, MaxResults=100
            )
    except (UserError, PlatformError) as error:
        return str(error).partition(": ")[0]
    wanted = re.compile(rf"(.*-)?{USAGES[kind]}:{re.escape(instance_type)}")
    prices = set()
    for text in answer["PriceList"]:
        product = json.loads(text)
        if wanted.fullmatch(product["product"]["attributes"].get("usagetype", "")):
            published = str(product.get("publicationDate", "no date"))[:10]
            prices |= {Price(dollars, published) for dollars in _list_dollars(product)}
    if len(prices) != 1:
        return f"the price list has {len(prices)} prices for {instance_type} in {account.region}"
    return prices.pop()


def _list_dollars(product: dict[str, Any]) -> list[Decimal]:
    return [
        Decimal(dimension["pricePerUnit"]["USD"])
        for term in product["terms"].get("OnDemand", {}).values()
        for dimension in term["priceDimensions"].values()
    ]


def describe(price: Price | str, instance_type: str, count: int) -> str:
    """Say what an hour of `count` instances costs."""
    what = f"{count} x {instance_type}"
    if isinstance(price, str):
        return (
            f"{what}: the price is unknown ({price}); see https://aws.amazon.com/sagemaker/pricing"
        )
    total = price.dollars_per_hour * count
    return f"{what}: ${total.normalize():f} an hour (AWS price list of {price.published})"
