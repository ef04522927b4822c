"""Instruments: calibration, simulator and chain of each, a folder an instrument; and what several of them need."""
