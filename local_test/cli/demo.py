"""The demonstration that `demo.sh` starts: digits are learned, the model is judged, served and asked for ten answers.

Everything goes through the harness as any container would: training job, processing job, endpoint.
"""

from __future__ import annotations

import json
import random
import sys

from container.errors import PlatformError, UserError
from local_test.cli import commands, digits
from local_test.jobs.processing import ProcessingJob
from local_test.jobs.result import JobResult
from local_test.jobs.training import TrainingJob
from local_test.requests import shorthand, validation

HYPERPARAMETERS = {"epochs": "40"}
SHOWN_IMAGES = 10


def main() -> int:
    """Run the demonstration; give its exit code."""
    runner = commands.make_runner(None, commands.OWN_PROGRAM)
    name = shorthand.make_name("demo")
    evaluation = commands.JOBS / "processing" / name / "evaluation"
    data = digits.write(commands.JOBS / "digits")

    _announce("1/4 training on handwritten digits")
    training = shorthand.training_request(
        name=name,
        image=shorthand.PROGRAM_IMAGE,
        channels={"training": str(data.training)},
        output=str(commands.JOBS / "training"),
        hyperparameters=HYPERPARAMETERS,
    )
    trained = TrainingJob(
        validation.validate("CreateTrainingJob", training),
        runner,
        commands.JOBS / "training" / name,
        commands.make_listeners(training),
    ).run()
    _require_completed(trained)
    model = trained.description["ModelArtifacts"]["S3ModelArtifacts"]

    _announce("2/4 evaluating on the digits that it has not seen")
    processing = shorthand.processing_request(
        name=name,
        image=shorthand.PROGRAM_IMAGE,
        inputs={"model": model, "test": str(data.test)},
        outputs={"evaluation": str(evaluation)},
    )
    judging = ProcessingJob(
        validation.validate("CreateProcessingJob", processing),
        runner,
        evaluation.parent,
        commands.make_listeners(processing),
    )
    _require_completed(judging.run())
    accuracy = json.loads((evaluation / "metrics.json").read_text(encoding="utf-8"))["accuracy"]

    _announce("3/4 serving")
    requests = shorthand.endpoint_requests(name=name, image=shorthand.PROGRAM_IMAGE, model=model)
    with commands.serving(requests, runner) as (endpoint, server):
        print(f"healthy after {endpoint.startup_s:.2f} s at {server.url}")
        _announce(f"4/4 asking for {SHOWN_IMAGES} of them")
        right = 0
        for label, pixels in random.sample(data.test_rows(), SHOWN_IMAGES):
            answer = endpoint.invoke(
                pixels.encode(), {"Content-Type": "text/csv", "Accept": "application/json"}
            )
            if answer.status != 200:
                message = (
                    f"the server answered {answer.status}: {answer.body.decode('utf-8', 'replace')}"
                )
                raise UserError(message)
            prediction = json.loads(answer.body)["predictions"][0]
            is_right = str(prediction["label"]) == label
            right += is_right
            print(
                f"label {label}  prediction {prediction['label']}  score {prediction['score']:.3f}  "
                f"{answer.total_s * 1000:5.1f} ms{'' if is_right else '  wrong'}"
            )
    print(
        f"{right} of {SHOWN_IMAGES} right; accuracy on all {len(data.test_rows())} test images: {accuracy:.4f}"
    )
    print(f"report: {evaluation / 'report.html'}")
    print(f"model:  {model.removeprefix('file://')}")
    return 0


def _announce(step: str) -> None:
    print(f"\n=== {step}", flush=True)


def _require_completed(result: JobResult) -> None:
    if result.status != "Completed":
        message = f"the job ended as {result.status}: {result.failure}; its directory is {result.directory}"
        raise UserError(message)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (UserError, PlatformError) as error:
        sys.exit(f"demo: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
