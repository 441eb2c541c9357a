"""`bdflow serve`: a folder of small files as a page, and shrinking and restoring over HTTP."""
