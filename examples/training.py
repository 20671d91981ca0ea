"""What the MNIST examples share: arguments, data, the training loop with its progress bar, the accuracy curve."""
from __future__ import annotations

import argparse
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import ftiny
import ftiny.numpy as jnp
from ftiny import data, random

EVALUATION_BATCH = 1000


def positive(text: str) -> int:
    """An argument that must be a whole number above zero."""
    number = int(text)
    if number <= 0:
        raise argparse.ArgumentTypeError(f"{text} is not above zero")
    return number


def picture(text: str) -> Path:
    """An argument that names a file in a folder that exists: found out before the training, not after it."""
    path = Path(text)
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {path.parent}")
    if find_spec("matplotlib") is None:
        raise argparse.ArgumentTypeError("a plot needs matplotlib: pip install matplotlib")
    return path


def arguments(description: str, steps: int) -> argparse.Namespace:
    """The command line that both examples have."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--steps", type=positive, default=steps, help=f"training steps (default {steps})")
    parser.add_argument("--batch", type=positive, default=128, help="images a step (default 128)")
    parser.add_argument("--seed", type=int, default=0, help="seed of parameters, sampling and dropout (default 0)")
    parser.add_argument("--device", default=None, help="cuda, opencl, opencl:1, numpy ... (default: the best one)")
    parser.add_argument("--plot", type=picture, default=None, metavar="FILE.png", help="save the accuracy curve")
    return parser.parse_args()


def accuracy_function(predict):
    """(params, images, labels) -> the share of images whose largest logit is at the label, in batches of 1000."""
    @ftiny.jit
    def correct(params, images, labels):
        return jnp.sum(jnp.argmax(predict(params, images), axis=1) == labels)

    def accuracy(params, images, labels) -> float:
        starts = range(0, len(labels), EVALUATION_BATCH)
        counts = [correct(params, images[s:s + EVALUATION_BATCH], labels[s:s + EVALUATION_BATCH]) for s in starts]
        return sum(int(count) for count in counts) / len(labels)

    return accuracy


def train(options, make_step, init, predict, optimizer, as_input) -> float:
    """Train for `options.steps` steps and return the test accuracy.

    make_step(predict, optimizer, batch) -> jitted step(state, images, labels, key) -> (state, loss), where state is
    (optimizer state, step number); as_input turns uint8 images of shape (n, 28, 28) into what `predict` takes.
    """
    from tqdm import tqdm

    x_train, y_train, x_test, y_test = data.mnist()
    images, labels = ftiny.device_put(x_train), ftiny.device_put(y_train.astype("int32"))
    test_images, test_labels = ftiny.device_put(as_input(x_test)), ftiny.device_put(y_test.astype("int32"))
    key = random.PRNGKey(options.seed)
    init_key, train_key = random.split(key)
    _, params = init(init_key, (-1, *test_images.shape[1:]))
    optimizer_init, _, get_params = optimizer
    state = (optimizer_init(params), jnp.zeros((), "int32"))
    step = make_step(predict, optimizer, options.batch)
    accuracy = accuracy_function(predict)

    start = time.perf_counter()
    state, loss = step(state, images, labels, train_key)
    loss.block_until_ready()
    print(f"first step (compile and run): {time.perf_counter() - start:.2f} s")

    curve, running = [], time.perf_counter()
    every = max(1, options.steps // 10)
    remaining = range(2, options.steps + 1)
    progress = tqdm(remaining, initial=1, total=options.steps, unit="step", disable=not sys.stderr.isatty())
    for number in progress:
        state, loss = step(state, images, labels, train_key)
        if number % every == 0 or number == options.steps:
            curve.append((number, accuracy(get_params(state[0]), test_images, test_labels)))
            progress.set_postfix(loss=f"{float(loss):.4f}", accuracy=f"{curve[-1][1]:.4f}")
    loss.block_until_ready()
    took = time.perf_counter() - running
    if not curve:
        curve.append((1, accuracy(get_params(state[0]), test_images, test_labels)))
    print("accuracy curve: " + ", ".join(f"{number}: {value:.4f}" for number, value in curve))
    each = 1e3 * took / max(1, options.steps - 1)
    print(f"{options.steps} steps in {took:.1f} s ({each:.2f} ms a step, evaluation included)")
    print(f"test accuracy: {curve[-1][1]:.4f}")
    if options.plot:
        plot(curve, options.plot)
    return curve[-1][1]


def plot(curve, path: Path) -> None:
    """Save the accuracy curve as a picture."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4))
    axes.plot(*zip(*curve), marker="o")
    axes.set(xlabel="step", ylabel="test accuracy", title="MNIST")
    axes.grid(True)
    figure.savefig(path, dpi=120)
    print(f"accuracy curve saved to {path}")


def run(main) -> None:
    """Run an example; ftiny's own errors become one clear message instead of a traceback."""
    try:
        main()
    except (ftiny.errors.DataError, ftiny.errors.DeviceError) as error:
        raise SystemExit(f"error: {error}") from None
