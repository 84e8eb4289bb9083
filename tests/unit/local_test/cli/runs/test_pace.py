"""The line below a training's log says what the log said, and goes on by the clock."""

from __future__ import annotations

from local_test.cli.runs.pace import Pace

END = (
    "epoch=2; train_loss=0.2; learning_rate=0.01; images_per_s=237.3; epoch_time_s=16.0; "
    "data_stall_share=5.8e-05; eta_s=32;"
)
WITHIN = "epoch 1 of 4, step 10 of 40: loss 0.9560, 150 images/s, 75 s to go"


class Clock:
    """A clock that a test sets."""

    now_s = 100.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now_s


def test_there_is_nothing_to_say_before_the_first_report_and_after_the_last() -> None:
    pace = Pace(Clock())
    pace.hear("loss=0.1; epoch 1 of 3")
    assert pace.describe() == ""
    pace.hear(END)
    assert pace.describe()
    pace.hear(END.replace("eta_s=32", "eta_s=0"))
    assert pace.describe() == ""


def test_the_end_of_an_epoch_says_how_many_are_left() -> None:
    clock = Clock()
    pace = Pace(clock)
    pace.hear(END)
    assert pace.describe() == " 50% ████████░░░░░░░░ about 32 s left, 237 images/s"
    clock.now_s += 16
    assert pace.describe() == " 75% ████████████░░░░ about 16 s left, 237 images/s"
    clock.now_s += 1000
    assert pace.describe() == "100% ████████████████ almost done, 237 images/s"


def test_a_report_within_an_epoch_counts_its_steps() -> None:
    pace = Pace(Clock())
    pace.hear(WITHIN)
    assert pace.describe() == "  6% █░░░░░░░░░░░░░░░ about 1 min 15 s left, 150 images/s"
