"""``python -m charrnn`` is the ``charrnn`` command."""

import os


def main() -> None:
    """Runs the command line."""
    # Idle worker threads sleep: spinning ones gain a tenth on a quiet machine and lose tenfold on a busy one.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    from charrnn.cli.app import main as run

    run()


if __name__ == "__main__":
    main()
