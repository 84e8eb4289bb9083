"""Images of other people get the verdicts that they deserve: every check of each, both ways."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from local_test.conformance import run as conformance
from local_test.runners.launcher import has_namespaces
from local_test.runners.process import ProcessRunner
from tests.contract.foreign import images
from tests.contract.test_local_test_conform import QUICK_START, WAITS, make_subject
from tests.environments import install_apart

IMAGES = images.read()
CASES = [
    pytest.param(image, id=image.name, marks=[] if image.quick else [pytest.mark.slow])
    for image in IMAGES
]


@pytest.mark.skipif(not has_namespaces(), reason="an image has a /opt/ml of its own")
@pytest.mark.parametrize("image", CASES)
def test_every_check_of_a_foreign_image_gives_its_verdict(
    tmp_path: Path, image: images.ForeignImage
) -> None:
    python = sys.executable
    if image.environment:
        python = str(install_apart(image.environment) / "bin/python")
    folder = image.build(tmp_path / "image", python)
    is_unhealthy = "serving" in image.not_run
    subject = make_subject(
        tmp_path,
        runner=ProcessRunner([], directory=folder),
        environment={"PATH": f"{folder}:/usr/bin:/bin"},
        is_multi_model=image.many_models,
        waits=QUICK_START if is_unhealthy else WAITS,
    )
    identities = conformance.choose(
        train=image.part == "train",
        serve=image.part == "serve",
        only=(),
        is_url=False,
        has_model=True,
    )

    verdicts = {verdict.check.id: verdict for verdict in conformance.run(subject, identities)}

    found = {identity: verdict.outcome for identity, verdict in verdicts.items()}
    expected = image.expect(identities)
    assert {
        identity: (outcome, verdicts[identity].evidence)
        for identity, outcome in found.items()
        if outcome != expected[identity]
    } == {}
    assert list(found) == identities
    for identity, pattern in image.fails.items():
        assert re.search(pattern, verdicts[identity].evidence), verdicts[identity].evidence


def test_the_table_has_each_classic_fault_and_three_correct_styles() -> None:
    assert len(IMAGES) >= 23
    assert len({image.story for image in IMAGES}) == len(IMAGES)
    assert len([image for image in IMAGES if image.style]) == 3
