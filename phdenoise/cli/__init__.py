"""The command line: `phdenoise info, denoise, simulate, fit, demo, neutron, stxm, optical`."""

import os

# XLA warns of every stored program that the machine lacks "prefer-no-gather", which is no feature of a machine; read when
# jaxlib is loaded.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
