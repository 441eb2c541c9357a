"""Pixels in and out: read, resized, written, with what a photograph says beside them."""
