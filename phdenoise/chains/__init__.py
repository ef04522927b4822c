"""Chains: from the files of one instrument to the quantity that is published, with a report."""
