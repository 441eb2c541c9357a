"""Folders of pictures in, folders of results out: what is to be done, doing it, and its log."""
