"""Events follow the changes of the store."""

from typing import Any

from local_test.aws.account.account import Account
from local_test.aws.account.kinds import MODEL, OBJECT
from local_test.aws.sagemaker.events import sending
from tests.support import wait_until


def test_each_change_is_sent_in_its_order(account: Account) -> None:
    sending.install(account)
    model: Any = {"ModelArn": "a", "ModelName": "m", "CreationTime": 1.0}
    bad: Any = {"CreationTime": 1.0}  # has no ARN: a bug, which must not stop the rest
    account.store.insert(OBJECT, "o", model)
    account.store.insert(MODEL, "bad", bad)
    account.store.insert(MODEL, "m", model)
    account.store.delete(MODEL, "m")
    notices: Any = account.notices
    wait_until(lambda: len(notices.events) == 2)
    assert {kind for kind, _, _ in notices.events} == {"SageMaker Model State Change"}
