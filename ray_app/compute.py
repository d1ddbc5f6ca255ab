"""How the processes that score use the cores."""

from threadpoolctl import threadpool_limits


def one_thread() -> None:
    """Multiply matrices in the calling thread only, in this process from now on.

    The matrices of a score are small: a pool of spinning threads takes several times as long to
    multiply them as one thread does wherever anything else wants the cores, and takes the cores
    away from it.
    """
    threadpool_limits(1)
