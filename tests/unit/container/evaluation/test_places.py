"""Where an evaluation finds its test set."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from container import contract
from container.errors import UserError
from container.evaluation import places


@pytest.mark.parametrize("is_processing", [True, False])
def test_two_test_sets_are_refused_unless_one_is_named(
    tmp_path: Path, *, is_processing: bool
) -> None:
    layout = contract.Layout(tmp_path)
    options = argparse.Namespace(model_dir=None, test_dir=None, output_dir=tmp_path)
    for name in ("test", "testing"):
        layout.channel(name).mkdir(parents=True)
    if is_processing:
        inputs = [{"InputName": name} for name in ("model", "test", "testing")]
        layout.processing_job_config.parent.mkdir(parents=True, exist_ok=True)
        layout.processing_job_config.write_text(json.dumps({"ProcessingInputs": inputs}))
    with pytest.raises(UserError, match=r"/test and .*/testing are two test sets; keep one"):
        places.find(layout, options)
    options.test_dir = tmp_path
    assert places.find(layout, options).test == tmp_path
