"""``python -m charrnn`` is the ``charrnn`` command."""

import os
import signal


def main() -> None:
    """Runs the command line."""
    # Until the command listens to signals itself, Ctrl-C ends it without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    rest_threads()
    from charrnn.cli.app import main as run

    run()


def rest_threads() -> None:
    """Lets idle OpenMP threads spin some 0.1 ms between operators, then sleep; called before torch is loaded.

    Endless spinning is twice as fast for small models on a quiet machine and up to ten times slower on a busy one;
    sleeping at once is slow on a quiet one. A policy the user set stays.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ["OMP_WAIT_POLICY"] = "passive"
        os.environ.setdefault("GOMP_SPINCOUNT", "3000")


if __name__ == "__main__":
    main()
