"""Creating one thing in the account, so that a lost answer leaves nothing behind unsaid."""

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any, Final

from container.errors import PlatformError, UserError, name_command
from local_test.remote.refusals import explaining, ignoring, is_missing, is_repeated, says_exists

_CLOCK_SKEW: Final = dt.timedelta(seconds=60)


class UncertainError(PlatformError):
    """Nobody knows whether the thing was made; the text names the command that deletes it."""


def create(
    name: str,
    request: Callable[[], Any],
    describe: Callable[[], Mapping[str, Any]],
    undo: Callable[[], Any],
) -> None:
    """Send a request that creates something; undo it if it arrived although its answer did not.

    What has the name already, but is older than this call, is left as it is.

    Raises: UserError or PlatformError, and then nothing was made; UncertainError.
    """
    since = dt.datetime.now(dt.UTC) - _CLOCK_SKEW

    def is_ours() -> bool:
        with ignoring(is_missing):
            return bool(describe()["CreationTime"] > since)
        return False

    def is_made_before(error: Exception) -> bool:
        """Return whether an earlier attempt of this call has made it, whose answer was lost."""
        return is_repeated(error) and says_exists(error) and is_ours()

    try:
        with explaining(), ignoring(is_made_before):
            request()
    except BaseException as error:
        if isinstance(error, UserError) and not is_repeated(error.__cause__):
            raise
        try:
            with explaining():
                if is_ours():
                    undo()
        except (UserError, PlatformError):
            reason = str(error) or "interrupted"
            text = f"{reason}; {name} may exist: `{name_command('aws delete')} {name}` deletes it"
            raise UncertainError(text) from error
        raise
