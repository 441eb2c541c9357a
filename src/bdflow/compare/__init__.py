"""`bdflow compare`: one's own photographs, at the bytes of bdflow's file, by every method."""
