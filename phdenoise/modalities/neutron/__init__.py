"""Neutron radiography: from radiographs of a cell to lithium and its transport."""
