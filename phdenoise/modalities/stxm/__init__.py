"""Scanning X-ray microscopy: from scans to lithium and the law of the reaction."""
