"""Why something that hosts a model did not start or change."""

import sys
import traceback

from container import contract
from container.errors import PlatformError, RequestError, UserError
from local_test.endpoints.rollouts.guard import RollbackError, RollbackFailedError
from local_test.jobs.status import INTERNAL_ERROR_MESSAGE


def explain(error: Exception, what: str, log_group: str) -> str:
    """Return the FailureReason of `what`, such as an endpoint; an error of ours is printed."""
    if isinstance(error, RollbackError | RollbackFailedError):
        reason = str(error)
    elif isinstance(error, UserError | RequestError):
        reason = f"{error}. Please check CloudWatch logs for this {what}: group {log_group}."
    elif isinstance(error, PlatformError):
        reason = f"InternalServerError: {error}"
    else:
        traceback.print_exception(error, file=sys.stderr)
        reason = INTERNAL_ERROR_MESSAGE
    return reason[: contract.FAILURE_REASON_CHARACTERS]
