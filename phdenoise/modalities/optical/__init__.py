"""Optical microscopy of graphite: from colours to phases, state of charge and fronts."""
