"""The version, where nothing needs to import upwards for it."""

__version__ = "0.1.0"
