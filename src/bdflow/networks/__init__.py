"""The networks: what each is, what storage does to what it makes, and building them from their weights.

They need torch and safetensors, and nothing of training. `config` and `facts` do without torch, too: the
runtime reads them.
"""
