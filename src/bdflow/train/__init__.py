"""The training half: the network, the mask, the losses, data, the loop and the exporter (needs torch)."""
