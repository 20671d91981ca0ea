"""`ftiny.scipy`: the functions of scipy that array programs use, with the names and signatures of `jax.scipy`.

Input and output are arrays, as in `ftiny.numpy`. The rooms: `special` (special functions), `linalg` (factorisations and
special matrices), `signal` (convolutions, trends), `stats` (distributions, ranks, density estimates).

    >>> import ftiny.scipy
    >>> ftiny.scipy.special.expit(0.0)
    Array(0.5, dtype=float32)
"""

from ftiny.scipy import linalg, signal, special, stats

__all__ = ["linalg", "signal", "special", "stats"]
