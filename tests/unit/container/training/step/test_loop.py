"""The pieces of a training step, against Keras and NumPy as oracles."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from container.data.images import LabeledImages
from container.errors import PlatformError, UserError
from container.training.network import networks, twins
from container.training.settings import Settings
from container.training.step import device, memory
from container.training.step.augmentation import augment
from container.training.step.loop import Loop
from container.training.step.optimizer import Optimizer
from container.training.step.source import Source
from tests.support import ROOT

ONE_TOWER = device.Device("float32", 1, 1, 1, xla=False, reasons=())
PLAIN = Settings(
    epochs=2,
    batch_size=8,
    label_smoothing=0.0,
    shift_pixels=0,
    weight_decay=0.0,
    schedule="constant",
    warmup_fraction=0,
)


@pytest.fixture(scope="module")
def images() -> LabeledImages:
    chance = np.random.default_rng(0)
    labels = np.arange(32, dtype=np.int32) % 4
    return LabeledImages(
        chance.integers(0, 256, (32, 8, 8, 1)).astype(np.uint8), labels, (0, 1, 2, 3)
    )


def build(seed: int = 0) -> keras.Model:
    keras.utils.set_random_seed(seed)
    return networks.build("small_cnn", (8, 8, 1), 4, (0.5, 0.3))


@pytest.mark.parametrize("name", ["adam", "sgd", "lamb"])
@pytest.mark.parametrize("clip_norm", [None, 0.5])
def test_update_rules_equal_those_of_keras(name: str, clip_norm: float | None) -> None:
    shapes = [(5, 3), (3,)]
    settings = dataclasses.replace(PLAIN, optimizer=name, learning_rate=0.05, clip_norm=clip_norm)
    oracle = {
        "adam": lambda: keras.optimizers.Adam(
            0.05, 0.9, 0.99, epsilon=1e-7, global_clipnorm=clip_norm
        ),
        "sgd": lambda: keras.optimizers.SGD(0.05, 0.9, nesterov=True, global_clipnorm=clip_norm),
        "lamb": lambda: keras.optimizers.Lamb(
            0.05, 0.9, 0.99, epsilon=1e-7, global_clipnorm=clip_norm
        ),
    }[name]()
    chance = np.random.default_rng(0)
    start = [chance.normal(size=shape).astype(np.float32) for shape in shapes]
    theirs = [keras.Variable(value) for value in start]
    ours = tf.Variable(np.concatenate([value.ravel() for value in start]))
    rule = Optimizer(settings, shapes, total_steps=10, host_count=1)
    for step in range(5):
        gradients = [chance.normal(size=shape).astype(np.float32) for shape in shapes]
        oracle.apply(gradients, theirs)
        rule.apply(ours, tf.constant(np.concatenate([value.ravel() for value in gradients])), step)
    expected = np.concatenate([variable.numpy().ravel() for variable in theirs])
    assert np.abs(ours.numpy() - expected).max() < 2e-5


def test_weight_decay_shrinks_kernels_and_leaves_biases() -> None:
    settings = dataclasses.replace(PLAIN, weight_decay=0.5, learning_rate=0.1)
    rule = Optimizer(settings, [(2, 2), (2,)], total_steps=10, host_count=1)
    weights = tf.Variable([1.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    rule.apply(weights, tf.zeros(6), 0)
    assert weights.numpy().tolist() == pytest.approx([0.95] * 4 + [1.0] * 2)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("linear", [0.5, 1.0, 1.0, 7 / 8, 1 / 8]),
        (
            "cosine",
            [0.5, 1.0, 1.0, 0.5 + 0.5 * np.cos(np.pi / 8), 0.5 + 0.5 * np.cos(np.pi * 7 / 8)],
        ),
        ("step", [0.5, 1.0, 1.0, 1.0, 0.01]),
        ("constant", [0.5, 1.0, 1.0, 1.0, 1.0]),
    ],
)
def test_schedules_rise_and_fall_as_documented(schedule: str, expected: list[float]) -> None:
    settings = dataclasses.replace(PLAIN, schedule=schedule, warmup_fraction=0.2, learning_rate=2.0)
    rule = Optimizer(settings, [(1,)], total_steps=10, host_count=1)
    assert [float(rule.rate(step)) / 2 for step in (0, 1, 2, 3, 9)] == pytest.approx(
        expected, abs=1e-6
    )


def test_hosts_scale_the_learning_rate_only_when_asked() -> None:
    for asked, peak in ((False, 0.015), (True, 0.06)):
        settings = dataclasses.replace(PLAIN, scale_learning_rate=asked)
        assert float(
            Optimizer(settings, [(1,)], total_steps=10, host_count=4).rate(5)
        ) == pytest.approx(peak)


def test_augmentation_is_the_same_for_a_step_whoever_asks_and_differs_between_steps(
    images: LabeledImages,
) -> None:
    settings = Settings(shift_pixels=2, flip=True, cutout_pixels=3, augmentation="trivial")
    targets = tf.one_hot(images.labels, 4)
    whole = augment(tf.constant(images.images), targets, settings, 5, (0, 32))[0].numpy()
    again = augment(tf.constant(images.images), targets, settings, 5, (0, 32))[0].numpy()
    half = augment(tf.constant(images.images[16:]), targets[16:], settings, 5, (16, 32))[0].numpy()
    other = augment(tf.constant(images.images), targets, settings, 6, (0, 32))[0].numpy()
    assert np.array_equal(whole, again)
    assert np.array_equal(whole[16:], half)  # a host's part of a batch
    assert not np.array_equal(whole, other)


def test_shift_moves_whole_pixels_in_black() -> None:
    picture = tf.constant(np.full((1, 8, 8, 1), 9, np.uint8))
    seen = set()
    for step in range(40):
        moved = augment(picture, tf.ones([1, 2]), Settings(shift_pixels=1), step, (0, 1))[
            0
        ].numpy()[0, ..., 0]
        assert set(np.unique(moved)) <= {0, 9}
        seen.add((bool((moved[0] == 0).all()), bool((moved[:, 0] == 0).all())))
    assert seen == {(False, False), (True, False), (False, True), (True, True)}


def test_flip_mirrors_half_of_the_images_and_the_others_in_the_next_epoch() -> None:
    chance = np.random.default_rng(0)
    photos = chance.integers(0, 256, (1000, 8, 8, 3)).astype(np.uint8)
    mirrored = {}
    for seed in (0, 1):
        settings = Settings(shift_pixels=0, flip=True, seed=seed)
        for epoch in range(3):
            found = augment(photos, tf.ones([1000, 2]), settings, epoch, (0, 1000), epoch)[0]
            same = (found.numpy() == photos).all(axis=(1, 2, 3))
            assert np.array_equal(found.numpy()[~same], photos[~same, :, ::-1])
            mirrored[seed, epoch] = ~same
        assert np.array_equal(mirrored[seed, 0], ~mirrored[seed, 1])
        assert np.array_equal(mirrored[seed, 0], mirrored[seed, 2])
        assert 400 < mirrored[seed, 0].sum() < 600
    assert 300 < (mirrored[0, 0] == mirrored[1, 0]).sum() < 700


def test_each_image_shifts_by_itself_and_reflections_fill_its_border() -> None:
    ramps = np.arange(64, dtype=np.uint8).reshape(8, 8, 1)
    batch = tf.constant(np.stack([ramps] * 200))
    settings = Settings(shift_pixels=2, shift_each=True)
    found = augment(batch, tf.ones([200, 2]), settings, 3, (0, 200))[0].numpy()
    padded = np.pad(ramps, [(2, 2), (2, 2), (0, 0)], mode="reflect")
    possible = {
        padded[row : row + 8, column : column + 8].tobytes()
        for row in range(5)
        for column in range(5)
    }
    assert {image.tobytes() for image in found} == possible
    half = augment(batch[100:], tf.ones([100, 2]), settings, 3, (100, 200))[0].numpy()
    assert np.array_equal(half, found[100:])  # a host's part of a batch


def test_random_crops_differ_and_keep_their_share_of_the_image() -> None:
    rows, columns = np.meshgrid(np.arange(64), np.arange(64), indexing="ij")
    ramps = np.stack([rows * 4, columns * 4, rows * 0], axis=-1).astype(np.uint8)
    batch = tf.constant(np.stack([ramps] * 32))
    settings = Settings(shift_pixels=0, crop_share=0.25)
    cropped = augment(batch, tf.ones([32, 2]), settings, 4, (0, 32))[0].numpy().astype(int)
    assert cropped.shape == (32, 64, 64, 3)
    heights = (cropped[:, -1, 0, 0] - cropped[:, 0, 0, 0]) / 252
    widths = (cropped[:, 0, -1, 1] - cropped[:, 0, 0, 1]) / 252
    shares = heights * widths
    assert shares.min() == pytest.approx(0.25, abs=0.15)
    assert shares.max() == pytest.approx(0.95, abs=0.15)
    ratios = widths / heights
    assert ratios.min() == pytest.approx(3 / 4, abs=0.1)
    assert ratios.max() == pytest.approx(4 / 3, abs=0.1)
    assert len({tuple(image[0, 0]) for image in cropped}) > 20
    half = augment(batch[16:], tf.ones([16, 2]), settings, 4, (16, 32))[0].numpy()
    assert np.array_equal(half, cropped[16:])  # a host's part of a batch
    same = augment(batch, tf.ones([32, 2]), Settings(shift_pixels=0), 4, (0, 32))[0].numpy()
    assert np.array_equal(same, batch.numpy())


def test_mixup_blends_images_and_targets_by_the_same_share() -> None:
    black_and_white = np.stack([np.zeros((8, 8, 1)), np.full((8, 8, 1), 255)]).astype(np.uint8)
    settings = Settings(shift_pixels=0, mixup_alpha=1.0)
    blended, targets = augment(tf.constant(black_and_white), tf.eye(2), settings, 3, (0, 2))
    share = targets.numpy()[0, 0]
    assert 0.5 <= share < 1
    assert np.abs(blended.numpy()[0] - 255 * (1 - share)).max() <= 0.5
    assert np.allclose(targets.numpy().sum(axis=1), 1)


def test_the_twin_computes_what_the_network_does(images: LabeledImages) -> None:
    network = build()
    twin = twins.clone_for_training(network, "float32")
    logits = twin(images.images, training=False)
    assert np.allclose(
        tf.nn.softmax(logits).numpy(), network(images.images, training=False).numpy(), atol=1e-6
    )


def test_fused_statistics_follow_keras_own_normalization(images: LabeledImages) -> None:
    network = build()
    twin = twins.clone_for_training(network, "float32")
    network(images.images, training=True)
    twin(images.images, training=True)
    for ours, theirs in zip(twin.get_weights(), network.get_weights(), strict=True):
        assert np.allclose(ours, theirs, rtol=2e-2, atol=1e-5)  # Bessel's correction


def test_towers_give_the_same_gradients_as_one_batch_where_nothing_is_normalized(
    images: LabeledImages,
) -> None:
    results = []
    for towers in (1, 3):
        inputs = keras.Input((8, 8, 1), dtype="uint8")
        keras.utils.set_random_seed(0)
        x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(inputs))
        outputs = keras.layers.Softmax()(keras.layers.Dense(4, name="logits")(x))
        network = keras.Model(inputs, outputs)
        loop = Loop(
            twins.clone_for_training(network, "float32"),
            images,
            PLAIN,
            dataclasses.replace(ONE_TOWER, towers=towers),
        )
        sums = loop.run(0, 0, 4, (0.0, 0))
        results.append((loop.result()["weights"], sums))
    assert np.abs(results[0][0] - results[1][0]).max() < 1e-5
    assert results[0][1][0] == pytest.approx(results[1][1][0], abs=1e-5)


@pytest.mark.parametrize("xla", [pytest.param("xla", marks=pytest.mark.slow), "plain"])
def test_four_devices_learn_what_one_does(xla: str) -> None:
    # A process of its own: devices are divided before TensorFlow's first operation.
    command = [sys.executable, "-m", "tests.contract.programs.replicas_on_devices", xla]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    cases = json.loads(done.stdout)
    assert len(cases) == {"xla": 1, "plain": 2}[xla]  # XLA takes its time to compile
    for case in cases:
        assert case["loss"] < 1e-5
        assert max(case["state"].values()) < 1e-5  # CPUs round differently
        assert case["copies"] == 0
        assert [name[-5:] for name in case["devices"]] == ["CPU:0", "CPU:1", "CPU:2", "CPU:3"]


def test_xla_draws_the_same_augmentation(images: LabeledImages) -> None:
    settings = dataclasses.replace(  # Adam would magnify what is rounding in a gradient
        PLAIN, optimizer="sgd", flip=True, shift_pixels=1, mixup_alpha=0.5
    )
    found = []
    for xla in (False, True):
        twin = twins.clone_for_training(build(), "float32")
        trainer = Loop(twin, images, settings, dataclasses.replace(ONE_TOWER, xla=xla))
        trainer.run(0, 0, 1, (0.0, 0))
        found.append(trainer.result()["weights"])
    assert np.abs(found[0] - found[1]).max() < 1e-5


def test_a_device_without_memory_names_a_remedy(images: LabeledImages) -> None:
    inputs = keras.Input((8, 8, 1), dtype="uint8")
    x = keras.layers.Rescaling(1 / 255)(inputs)
    # 8 images of 2^46 floats are more than an address holds.
    x = keras.layers.UpSampling2D(1 << 20)(x)
    x = keras.layers.GlobalMaxPooling2D()(x)
    outputs = keras.layers.Softmax()(keras.layers.Dense(4, name="logits")(x))
    twin = twins.clone_for_training(keras.Model(inputs, outputs), "float32")
    loop = Loop(twin, images, PLAIN, ONE_TOWER)
    with pytest.raises(UserError, match="batch_size=8 with precision=float32; use a smaller"):
        loop.run(0, 0, 1, (0.0, 0))


@pytest.mark.parametrize(
    ("image_bytes", "gpu_bytes", "place"),
    [
        (60 << 30, [], None),
        (4 << 30, [16 << 30], None),
        (60 << 30, [16 << 30], "/CPU:0"),
        (1, [0], "/CPU:0"),  # the driver does not say how much there is
        (1, [16 << 30, 16 << 30], "/CPU:0"),
    ],
)
def test_images_stay_on_a_gpu_only_if_its_own_memory_has_room(
    image_bytes: int, gpu_bytes: list[int], place: str | None
) -> None:
    assert memory.choose_place(image_bytes, gpu_bytes) == place


def test_steps_are_the_same_bits_however_they_are_cut_and_after_a_restore(
    images: LabeledImages,
) -> None:
    settings = dataclasses.replace(
        PLAIN, shift_pixels=1, shift_each=True, flip=True, ema_decay=0.9, lookahead_steps=2
    )

    def make() -> Loop:
        return Loop(twins.clone_for_training(build(), "float32"), images, settings, ONE_TOWER)

    whole, cut, resumed = make(), make(), make()
    expected = whole.run(0, 0, 4, (0.0, 0))
    sums = (0.0, 0)
    for start in range(4):
        sums = cut.run(0, start, 1, sums)
        if start == 1:
            resumed.restore(cut.state())
            kept = sums
    assert sums == expected
    assert resumed.run(0, 2, 2, kept) == expected
    for name, array in whole.state().items():
        assert np.array_equal(array, cut.state()[name]), name
        assert np.array_equal(array, resumed.state()[name]), name


def test_a_source_gives_every_image_once_an_epoch_in_an_order_of_its_own(
    images: LabeledImages,
) -> None:
    source = Source(images, 8, seed=1)
    orders = [source.find_block(epoch * 4).order.numpy().tolist() for epoch in range(2)]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(32))
    assert orders[0] != orders[1]
    assert Source(images, 8, seed=1).find_block(6).order.numpy().tolist() == orders[1]
    assert Source(images, 8, seed=2).find_block(6).order.numpy().tolist() != orders[1]


def test_a_loss_that_is_not_finite_names_its_step(images: LabeledImages) -> None:
    loop = Loop(twins.clone_for_training(build(), "float32"), images, PLAIN, ONE_TOWER)
    state = loop.state()
    loop.restore({**state, "weights": np.full_like(state["weights"], np.nan)})
    with pytest.raises(UserError, match="step 3 of epoch 2"):
        loop.run(1, 2, 2, (0.0, 0))


def write_cpuinfo(path: Path, flags: str) -> Path:
    path.write_text(f"processor : 0\nflags\t: fpu {flags}\n")
    return path


def test_float16_learns_what_float32_learns(images: LabeledImages) -> None:
    ends = {}
    for precision in ("float32", "float16"):
        trainer = Loop(
            twins.clone_for_training(build(), precision),
            images,
            PLAIN,
            dataclasses.replace(ONE_TOWER, precision=precision),
        )
        losses = [trainer.run(epoch, 0, 4, (0.0, 0))[0] / 4 for epoch in range(2)]
        assert losses[1] < losses[0]
        ends[precision] = losses[0]
    assert ends["float16"] == pytest.approx(ends["float32"], rel=0.05)


def test_a_float16_gradient_that_overflows_is_left_out_and_halves_the_scale(
    images: LabeledImages,
) -> None:
    twin = twins.clone_for_training(build(), "float16")
    trainer = Loop(twin, images, PLAIN, dataclasses.replace(ONE_TOWER, precision="float16"))
    trainer.restore(trainer.state() | {"loss_scale": np.array([2.0**60, 7.0], np.float32)})
    before = trainer.state()
    loss, _ = trainer.run(0, 0, 1, (0.0, 0))
    after = trainer.state()
    assert np.isfinite(loss)
    assert after["loss_scale"].tolist() == [2.0**59, 0.0]
    assert np.array_equal(after["weights"], before["weights"])
    trainer.restore(after | {"loss_scale": np.array([1024.0, 1999.0], np.float32)})
    trainer.run(0, 1, 1, (0.0, 0))
    assert trainer.state()["loss_scale"].tolist() == [2048.0, 0.0]
    assert not np.array_equal(trainer.state()["weights"], before["weights"])


@pytest.mark.parametrize(
    ("flags", "precision"),
    [("avx512_bf16", "bfloat16"), ("amx_bf16", "bfloat16"), ("avx512f", "float32")],
)
def test_bfloat16_is_chosen_where_the_cpu_computes_in_it(
    flags: str, precision: str, tmp_path: Path
) -> None:
    cpuinfo = write_cpuinfo(tmp_path / "cpuinfo", flags)
    chosen = device.choose(Settings(), (28, 28), cpuinfo=cpuinfo)
    assert chosen.precision == precision
    assert any(line.startswith(f"precision={precision}") for line in chosen.reasons)
    assert (
        device.choose(Settings(precision="float32"), (28, 28), cpuinfo=cpuinfo).precision
        == "float32"
    )
    assert (
        device.choose(Settings(model="mobilenet_v3_small"), (224, 224), cpuinfo=cpuinfo).precision
        == "float32"
    )


@pytest.mark.parametrize(
    ("threads", "batch_size", "side", "towers", "intra", "inter"),
    [
        (2, 128, 28, 2, 1, 2),
        (8, 128, 28, 4, 2, 4),
        (2, 32, 28, 1, 2, 2),
        (4, 128, 224, 1, 4, 2),
        (1, 128, 28, 1, 1, 1),
    ],
)
def test_towers_are_for_small_images_and_batches_that_can_be_cut(  # noqa: PLR0913, PLR0917 - a row
    threads: int, batch_size: int, side: int, towers: int, intra: int, inter: int
) -> None:
    chosen = device.choose(Settings(threads=threads, batch_size=batch_size), (side, side))
    assert (chosen.towers, chosen.intra_threads, chosen.inter_threads) == (towers, intra, inter)
    assert (
        device.choose(
            Settings(threads=threads, batch_size=batch_size, towers=3), (side, side)
        ).towers
        == 3
    )


def test_as_many_gpus_train_as_have_a_part_of_the_batch_that_pays() -> None:
    gpus = [{"compute_capability": (9, 0)}] * 4
    for batch_size, count in ((256, 4), (64, 2), (8, 1)):
        chosen = device.choose(Settings(batch_size=batch_size), (28, 28), gpus)
        assert chosen.towers == 1
        assert len(chosen.places) == (count if count > 1 else 0)
        assert chosen.inter_threads > count
        assert chosen.reasons[0].startswith(f"device: {count} of 4 GPU(s)")
    assert device.choose(Settings(), (224, 224), gpus[:1]).places == ()


def test_a_gpu_brings_xla_one_tower_and_bfloat16_from_ampere_on() -> None:
    for capability, precision in (((9, 0), "bfloat16"), ((7, 5), "float16"), ((6, 1), "float32")):
        chosen = device.choose(Settings(), (28, 28), [{"compute_capability": capability}])
        assert (chosen.xla, chosen.towers, chosen.precision) == (True, 1, precision)
    with pytest.raises(PlatformError, match="no GPU"):
        device.choose(Settings(require_gpu=True), (28, 28))


@pytest.mark.parametrize(
    ("shape", "last"),
    [
        ((8, 8, 1), (4, 4)),
        ((28, 28, 1), (3, 3)),
        ((32, 32, 3), (4, 4)),
        ((1, 1, 3), (1, 1)),
        ((5, 90, 1), (1, 2)),
    ],
)
def test_the_small_cnn_takes_any_image_shape(
    shape: tuple[int, int, int], last: tuple[int, int]
) -> None:
    network = networks.build("small_cnn", shape, 3, (0.5, 0.3))
    flatten = next(layer for layer in network.layers if isinstance(layer, keras.layers.Flatten))
    assert tuple(flatten.input.shape[1:3]) == last
    probabilities = network(np.zeros((2, *shape), np.uint8), training=False).numpy()
    assert np.allclose(probabilities.sum(axis=1), 1)
