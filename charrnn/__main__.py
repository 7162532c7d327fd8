"""``python -m charrnn`` is the ``charrnn`` command."""

import os
import signal


def main() -> None:
    """Runs the command line."""
    # Until the command listens to signals itself, Ctrl-C ends it without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    let_idle_threads_sleep()
    from charrnn.cli.app import main as run

    run()


def let_idle_threads_sleep() -> None:
    """Makes idle OpenMP threads spin for about 0.1 ms between operators, then sleep; call it before torch is loaded.

    Threads that spin without end are twice as fast for small models on an idle machine, and up to ten times slower on
    a busy one. Threads that sleep at once are slow on an idle machine. A policy that the user has set is kept.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ["OMP_WAIT_POLICY"] = "passive"
        os.environ.setdefault("GOMP_SPINCOUNT", "3000")


if __name__ == "__main__":
    main()
