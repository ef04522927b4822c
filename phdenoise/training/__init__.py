"""Training: the loop, the objectives, held-out pixels and checkpoints."""
