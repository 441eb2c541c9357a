"""``python -m bdflow``."""

from bdflow.cli import main

raise SystemExit(main())
