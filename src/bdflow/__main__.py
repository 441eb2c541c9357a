"""``python -m bdflow``."""

from bdflow.cli.main import main

raise SystemExit(main())
