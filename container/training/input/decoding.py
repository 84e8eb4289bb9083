"""The decode stage of `pipeline`: when it starts, and which pictures it takes.

TensorFlow decodes JPEG and PNG several times as fast as Pillow, to the same pixels. Pillow decodes
what is left: other formats and sizes, and pictures that TensorFlow refuses, whose fault it names.
"""

from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any, Self

from container import machine
from container.data import gathering
from container.data.formats.parts import DecodingTask, Part, Shape, Task


class Decoder:
    """Runs the tasks of a reader, pictures by TensorFlow.

    TensorFlow's threads are set before its first operation, by the size of the images, which the
    reader knows first: it announces their shape, and waits until TensorFlow is set up.
    """

    def __init__(self) -> None:
        self._shape: Future[Shape] = Future()
        self._ready: Future[None] = Future()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let a reader that still waits give up: TensorFlow will not be set up."""
        self._ready.cancel()

    def wait_for_shape(self, reading: Future[Any]) -> Shape:
        """Return the shape of the images once it is known, or zeros if `reading` ends without."""
        wait([self._shape, reading], return_when=FIRST_COMPLETED)
        if self._shape.done():
            return self._shape.result()
        return (0, 0, 0) if reading.exception() else reading.result().training.image_shape

    def start(self) -> None:
        """Let the reader decode: TensorFlow is set up."""
        self._ready.set_result(None)

    def run(self, tasks: Iterator[Task]) -> Iterator[Part]:
        """Run tasks and yield their parts in order.

        Raises: UserError as the tasks and their iterator do.
        """
        pictures: list[DecodingTask] = []
        yield from gathering.run_ahead(_take_until_pictures(tasks, pictures))
        if not pictures:
            return
        shape = pictures[0].shape
        if not self._shape.done():
            self._shape.set_result(shape)
        self._ready.result()
        from container.training.input import pipeline

        decoded = pipeline.decode(pictures[0], tasks, machine.count_threads())
        yield from gathering.run_ahead(decoded)


def _take_until_pictures(tasks: Iterator[Task], pictures: list[DecodingTask]) -> Iterator[Task]:
    """Yield the tasks before the first one that decodes; that one goes to `pictures`."""
    for task in tasks:
        if isinstance(task, DecodingTask):
            pictures.append(task)
            return
        yield task
