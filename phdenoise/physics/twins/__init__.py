"""Simulated movies whose law is known."""
