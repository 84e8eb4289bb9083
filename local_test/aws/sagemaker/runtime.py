"""The SageMaker Runtime API: requests to the endpoints of an account."""

import functools
from collections.abc import Mapping
from typing import Any

from local_test.aws.account.account import Account
from local_test.aws.sagemaker.live_endpoints import find_live
from local_test.endpoints.invocation import COMPONENT
from local_test.endpoints.invocation_http import InvocationApi


def api_of(account: Account) -> InvocationApi:
    """Return the API for an account's endpoints; it counts requests for CloudWatch and scaling."""

    def count(name: str, *counted: Any, component: str = "", **details: Any) -> None:
        account.meter(name).count(*counted, **details)
        if component:
            account.component_meter(component).count(*counted)

    def keep(name: str, headers: Mapping[str, str], body: bytes) -> None:
        component = headers.get(COMPONENT)
        meter = account.component_meter(component) if component else account.meter(name)
        meter.keep(headers.get("content-type", ""), headers.get("accept", ""), body)

    return InvocationApi(
        functools.partial(find_live, account), account.number, account.region, count, keep
    )
