"""The small file: an ordinary picture, and what restores the photograph; see docs/format.md."""
