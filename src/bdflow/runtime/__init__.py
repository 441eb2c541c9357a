"""Networks at work: photographs to small files, and back."""
