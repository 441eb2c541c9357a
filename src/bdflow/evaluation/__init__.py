"""What is measured of stored pictures, and how it is told."""
