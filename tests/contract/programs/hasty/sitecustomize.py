"""Take from the SDKs what is of no use here.

They wait for jobs that take minutes at AWS: here a tenth of that. They check the same file of
defaults against its schema at each look at one of them, which was nine tenths of their time.
"""

import contextlib
import time

_sleep = time.sleep


def _sleep_less(seconds: float) -> None:
    _sleep(max(seconds / 10, min(seconds, 0.5)))


time.sleep = _sleep_less

with contextlib.suppress(ImportError):
    import jsonschema

    _validate = jsonschema.validate
    _valid = set()

    def _validate_once(instance: object, schema: object, **options: object) -> None:
        key = (repr(instance), id(schema), repr(options))
        if key not in _valid:
            _validate(instance, schema, **options)
            _valid.add(key)

    jsonschema.validate = _validate_once
