"""What is measured of stored pictures, and the tables and cards that report it."""
