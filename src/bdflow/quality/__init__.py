"""Learned measures of quality: LPIPS and DISTS (they need torch)."""
