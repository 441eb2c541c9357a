"""The training half: the mask, the losses, data, the loop and the exporter (needs `bdflow[train]`)."""
