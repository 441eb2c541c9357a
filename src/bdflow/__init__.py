"""bdflow: shrink a photograph into one small PNG, and get the photograph back."""

__version__ = "0.1.0"
