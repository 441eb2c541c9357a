"""`python -m bdflow`."""

from bdflow.cli.main import main

if __name__ == "__main__":  # worker processes of `bdflow serve` read it, too
    raise SystemExit(main())
