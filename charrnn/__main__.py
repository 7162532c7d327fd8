"""``python -m charrnn`` is the ``charrnn`` command."""

import os


def main() -> None:
    """Runs the command line."""
    # torch's idle worker threads must sleep, not spin: the native kernels want the cores between torch's operators.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    from charrnn.cli.app import main as run

    run()


if __name__ == "__main__":
    main()
