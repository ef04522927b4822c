"""Free energies of mixing and the chemical potentials that follow from them."""
