"""A character model with an LSTM: `lax.scan` over the text, its gradient, clipping, Adam, and sampling at the end.

The cell keeps a hidden state h and a memory c. With x the character's vector, s the sigmoid and * elementwise:

    i, f, o = s(W [x, h] + b),   g = tanh(W [x, h] + b)        (each with its own rows of W and b)
    c' = f * c + i * g,          h' = o * tanh(c')

and the next character has probability softmax(V h' + d). Training minimises the mean cross-entropy over windows of the
text. Gradients through many steps are at times huge, so their norm is clipped.

Hochreiter and Schmidhuber, Long Short-Term Memory (1997); the forget gate f is of Gers, Schmidhuber and Cummins (2000);
clipping is of Pascanu, Mikolov and Bengio (2013).

    python examples/lstm.py --steps 200 --text book.txt
"""
import argparse
import time
from functools import partial
from pathlib import Path

import ftiny
import ftiny.numpy as jnp
from ftiny import lax, nn, optimizers, random

from training import positive, run

TEXT = """The miller has a wheel of wood, the wheel is in the stream.
The water turns it day and night, it turns it in his dream.
The baker has an oven hot, the oven is of stone.
He bakes a loaf for everyone and none for him alone.
The smith he has a hammer black, the hammer is of steel.
He strikes it on the anvil till he shapes the miller's wheel.
The weaver has a loom of oak, the loom is by the door.
She weaves a coat for all of them and then she weaves one more.
"""


def encode(text):
    """The characters that occur, in order, and the text as int32 positions among them."""
    characters = sorted(set(text))
    position = {character: i for i, character in enumerate(characters)}
    return characters, jnp.array([position[character] for character in text], "int32")


def init_params(key, characters, hidden):
    """The parameters; the forget gate's bias begins at 1, so that the memory is kept at first."""
    embed_key, cell_key, out_key = random.split(key, 3)
    scale = 1 / (2 * hidden) ** 0.5
    return {
        "embed": random.normal(embed_key, (characters, hidden)),
        "cell": scale * random.normal(cell_key, (2 * hidden, 4 * hidden)),
        "cell_bias": jnp.concatenate([jnp.zeros(hidden), jnp.ones(hidden), jnp.zeros(2 * hidden)]),
        "out": scale * random.normal(out_key, (hidden, characters)),
        "out_bias": jnp.zeros(characters),
    }


def start(params, batch):
    """The state before the first character: h and c of shape (batch, hidden), zero."""
    zeros = jnp.zeros((batch, params["out"].shape[0]))
    return zeros, zeros


def cell(params, state, character):
    """One step: (state, int32 characters of shape (batch,)) -> (new state, logits of the next character)."""
    h, c = state
    gates = jnp.concatenate([params["embed"][character], h], axis=-1) @ params["cell"] + params["cell_bias"]
    i, f, o, g = jnp.split(gates, 4, axis=-1)
    c = nn.sigmoid(f) * c + nn.sigmoid(i) * jnp.tanh(g)
    h = nn.sigmoid(o) * jnp.tanh(c)
    return (h, c), h @ params["out"] + params["out_bias"]


def loss(params, windows):
    """The mean cross-entropy, in nats a character, of int32 windows of shape (batch, length + 1)."""
    inputs, targets = windows[:, :-1].T, windows[:, 1:].T
    _, logits = lax.scan(partial(cell, params), start(params, windows.shape[0]), inputs)
    chosen = jnp.take_along_axis(nn.log_softmax(logits), targets[..., None], axis=-1)
    return -jnp.mean(chosen)


def make_step(optimizer, batch, length, largest_norm=1.0):
    """One jitted step on random windows of the text: step(state, number, text, key) -> (state, loss)."""
    _, update, get_params = optimizer

    def step(state, number, text, key):
        starts = random.randint(random.fold_in(key, number), (batch, 1), 0, text.shape[0] - length)
        windows = text[starts + jnp.arange(length + 1)]
        value, gradient = ftiny.value_and_grad(loss)(get_params(state), windows)
        return update(number, optimizers.clip_grads(gradient, largest_norm), state), value

    return ftiny.jit(step, donate_argnums=0)


@partial(ftiny.jit, static_argnums=3)
def sample(params, key, first, length, temperature=0.5):
    """`length` int32 characters after the character `first`, each drawn from softmax(logits / temperature)."""
    def step(carry, key):
        state, character = carry
        state, logits = cell(params, state, character)
        character = random.categorical(key, logits / temperature).astype("int32")
        return (state, character), character[0]

    return lax.scan(step, (start(params, 1), first[None]), random.split(key, length))[1]


def main():
    """Train on the text, then write some."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--text", type=Path, default=None, metavar="FILE", help="a text file (default: a short rhyme)")
    parser.add_argument("--steps", type=positive, default=200, help="training steps (default 200)")
    parser.add_argument("--hidden", type=positive, default=128, help="size of the state (default 128)")
    parser.add_argument("--length", type=positive, default=48, help="characters of a window (default 48)")
    parser.add_argument("--seed", type=int, default=0, help="seed of parameters, windows and sample (default 0)")
    parser.add_argument("--device", default=None, help="cuda, opencl, opencl:1, numpy ... (default: the best one)")
    options = parser.parse_args()
    text = options.text.read_text(encoding="utf-8") if options.text else TEXT
    if len(text) <= options.length:
        parser.error(f"the text has {len(text)} characters, too few for windows of {options.length}")
    with ftiny.device(options.device):
        print(f"device: {ftiny.default_device().name}")
        characters, encoded = encode(text)
        init_key, train_key, sample_key = random.split(random.PRNGKey(options.seed), 3)
        init_state, _, get_params = optimizer = optimizers.adam(5e-3)
        state = init_state(init_params(init_key, len(characters), options.hidden))
        step, begin = make_step(optimizer, 32, options.length), time.perf_counter()
        for number in range(options.steps):
            state, value = step(state, number, encoded, train_key)
            if number == 0 or (number + 1) % max(1, options.steps // 10) == 0:
                print(f"step {number + 1}: loss {float(value):.3f}, {time.perf_counter() - begin:.1f} s")
        written = sample(get_params(state), sample_key, encoded[0], 200)
        print("sample:\n" + text[0] + "".join(characters[i] for i in written.tolist()))


if __name__ == "__main__":
    run(main)
