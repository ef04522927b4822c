"""The command line: `phdenoise info, denoise, simulate, fit, demo, neutron, stxm, optical`."""
