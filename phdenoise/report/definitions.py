"""What each number of a report is, in one sentence: the definitions beside the table."""

import re

# Pattern of "group: name" -> definition; the first that fits holds.
_DEFINITIONS: tuple[tuple[str, str], ...] = (
    # Noise and denoising.
    (r".*: sigma$", "standard deviation of the Gaussian noise"),
    (r"detector: gain$", "counts that one neutron adds, from the scatter of the counts"),
    (r".*: gain$", "counts that one detected quantum adds: slope of the variance against the mean"),
    (r".*: offset$", "counts of the detector without signal"),
    (r".*: read_sigma$", "standard deviation of the noise without signal"),
    (r".*: ssim_(noisy|denoised)$", "structural similarity to the clean movie; 1 is equal"),
    (r".*: psnr_(noisy|denoised)$", "peak signal-to-noise ratio against the clean movie, whose range is the peak"),
    (r".*: coverage_68$", "share of the pixels whose true value lies within one standard deviation; 0.68 is right"),
    (r".*: coverage_95$", "share of the pixels whose true value lies within 1.96 standard deviations; 0.95 is right"),
    (r".*: upsnr$", "peak signal-to-noise ratio estimated from neighbouring frames, without a clean movie"),
    (r".*: residual_whiteness_z$", "test that the residual is white noise: beyond about 3 it is not"),
    (r".*: residual_largest_correlation$", "largest correlation of the residual with itself at any small lag"),
    (r".*: noise (\w+)$", "parameter of the noise model"),
    (r".*: photon-transfer chi2.*", "squared misfit of the noise model to variance against mean; about 1 is right"),
    (r".*: photon-transfer median misfit$", "median relative misfit of the noise model's variance"),
    (r".*: power of fast changes.*", "power of the fastest changes in time that is left after denoising; noise alone gives 0"),
    (r".*: rms of the difference noisy.*", "what was taken away; 1 if it is all of the noise and nothing else"),
    (r".*: share of the correlation of the noise.*", "noise that was predicted from its neighbours, and so stays"),
    (r".*: structure in the residual.*", "signal or correlated noise that was taken away with the noise"),
    (r".*: structure that the error bars allow.*", "structure that the stated standard deviations account for"),
    (r".*: variance of z of measured values$", "mean square of the blind error over its predicted variance; 1 is right"),
    # A law of a movie.
    (r"fit .*: holds$", "1 where the tests of the residual find no misfit, 0 where the law does not hold"),
    (r"fit .*: mu_h_rms_error_kT$", "rms difference of mu_h(c) from that of the simulated movie [kT]"),
    (r"fit .*: D_relative_rms_error$", "rms of D(c) over that of the simulated movie, less 1"),
    (r".*: ln_D_0$|.*: ln_M_0$", "logarithm of the diffusivity's (mobility's) level, its series without higher terms"),
    (r".*: p_(\d+)$", "coefficient of degree {0} of the Legendre series of mu_h(c) beyond ideal mixing"),
    (r".*: q_(\d+)$", "coefficient of degree {0} of the Legendre series of the logarithm of D(c) (of the mobility)"),
    (r".*: edge_(\w+)_value(\[\d+\])?$", "concentration at which the {0} face of the frame is held"),
    (r".*: edge_(\w+)_flux(\[\d+\])?$", "flow into the frame through its {0} face, per area"),
    (r"fit .*: velocity\[0\]$", "velocity along y (rows), of the flow or of the sample as the law says"),
    (r"fit .*: velocity\[1\]$", "velocity along x (columns), of the flow or of the sample as the law says"),
    (r".*: ln_ratio$", "natural logarithm of D along y over D along x"),
    (r".*: constant$", "source: gain of c per time where c is zero"),
    (r".*: linear$", "source: what its gain of c per time rises by from c = 0 to c = 1"),
    (r".*: waves\[(\d+)\]$", "coefficient of wave {0} of the logarithm of the relative diffusivity over the frame"),
    (r".*: ln_width$", "natural logarithm of the standard deviation of the point spread"),
    (r".*: ln_(\w+)$", "natural logarithm of {0}"),
    (r".*: logit_(\w+)$", "ln({0} / (1 - {0}))"),
    (r".*: kappa$", "gradient energy coefficient: energy of an interface, kappa/2 times the squared gradient of c"),
    (r".*: kappa_(low|high)$", "{0} end of the 90 % interval of kappa"),
    (r".*: chi2_per_dof$", "squared misfit over its expectation from noise alone; about 1 where the law holds"),
    (r".*: explained_variance$", "share of the movie's change, beyond noise, that the law accounts for"),
    (r".*: substeps$", "solver steps between two frames"),
    (r".*: solver_bias_sd$", "how far solver steps of half the length would move the parameters, in their sd"),
    (r".*: network_steps$", "training step of the joint fit whose network was kept"),
    (r".*: network_misfit_(first|last)$", "blind misfit of the network before (first) and after (last) the joint training"),
    (r".*: field_(\w+)$", "number of the initial field: {0}"),
    (r".*: (residual|prior|evidence)\w*$", "statistic of the fit: {0}"),
    # Neutrons.
    (r"variability: reduction .*", "how much of the scatter denoising took away"),
    (r"variability: (measured|denoised), over frames.*", "scatter of the lithium of a pixel over frames at rest, where nothing changes"),
    (r"variability: (measured|denoised), over pixels.*", "scatter of the lithium over pixels of a box that is uniform"),
    (r"fit: u_(low|high)$", "{0}est filling that the profiles visit"),
    (r"fit: (\w+)$", "parameter of the diffusion that is fitted to the profiles"),
    # Scans.
    (r"lithium: sd of one pixel, (\w+)$", "median standard deviation of the lithium fraction of a pixel, {0}"),
    (r"lithium: sd common.*", "error by background and thickness that all frames share"),
    (r"particle: area$", "area of the pixels taken as the particle"),
    (r"particle: thickness, mean$", "mean over the particle, in thicknesses of the reference spectra"),
    (r"beam: flicker.*", "scatter of the beam's intensity between frames"),
    (r"(beam|noise): .*noise correlation of neighbours along (\w)$", "correlation of the noise of two pixels that are neighbours along {1}"),
    (r"heterogeneity: uniformity coefficient.*", "1 where all places have one lithium fraction at each time, 0 where each is full or empty"),
    (r"heterogeneity: sd of ln k.*", "scatter of the logarithm of the rate constant over the particle"),
    (r"law, .*: L_(\d+)$", "Redlich-Kister coefficient of degree {0} of the free energy of mixing"),
    (r"law, .*: a$", "power of c in the exchange current"),
    (r"law, .*: b$", "power of 1 - c in the exchange current"),
    (r"law, .*: k_0$", "rate constant of the exchange current, geometric mean over the particle"),
    (r"law, .*: inflation$", "factor of the variances for errors that go together"),
    # Colour movies.
    (r"colours: .*, share of pixels$", "share of the particles' pixels that have this phase"),
    (r"colours: .*", "mean colour of the phase in this channel; sd: scatter of its pixels"),
    (r"certainty: .*, mean probability.*", "mean probability of the phase that is named for a pixel"),
    (r"certainty: .*, sd of x.*", "median standard deviation of the lithium fraction of a pixel"),
    (r"certainty: .*, sd of the state of charge.*", "median standard deviation of the lithium fraction of a particle"),
    (r"particles: .*, area$", "mean area of the particle"),
    (r"particles: .*, state of charge, (\w+) frame$", "mean lithium fraction of the particle in the {0} frame"),
    (r"particles: .*, mean speed of the front.*", "mean speed of the phase's front from the rim inwards"),
    # Atoms.
    (r"image: pixel size$", "side of a pixel"),
    (r"image: frames$", "frames that were used"),
    (r"image: electrons of a vacuum pixel.*", "mean counts of a pixel beside the particle in one frame"),
    (r"image: dose of a frame$", "electrons of one frame per area"),
    (r"image: dose in all$", "electrons of all frames per area"),
    (r"image: variance over mean.*", "1 for counts of electrons; otherwise the counts are not electrons"),
    (r"columns: found$", "columns found in the sum of the frames"),
    (r"columns: at the surface$", "columns with a neighbour missing"),
    (r"columns: false ones.*", "columns found in simulated vacuum of the same size and dose"),
    (r"columns: distance of neighbours.*", "median distance to the nearest column"),
    (r"columns: error of a position.*", "rms standard deviation of a position along y or x"),
    (r"columns: width.*", "standard deviation of the Gaussian of a column"),
    (r"columns: intensity.*", "electrons that a column adds or takes away in the sum of the frames"),
    (r"claims: sites where.*", "sites of the surface with this verdict"),
    (r"claims: power for a column.*", "probability that a column that is there is claimed"),
    (r"claims: distance d'.*", "separation of the log likelihood ratios with and without a column"),
    (r"occupancy: rate of arrival.*", "arrivals at an empty site per time (or an end of its interval)"),
    (r"occupancy: rate of departure.*", "departures from an occupied site per time (or an end of its interval)"),
    (r"occupancy: occupied in equilibrium$", "share of the time that a site is occupied"),
    (r"occupancy: .*seen, expected number$", "expected number of such jumps in this movie"),
)  # fmt: skip


def defined(group: str, name: str) -> str:
    """The definition of a number.

    Args:
        group: that it belongs to.
        name: of the number.

    Returns:
        One sentence; "" for a number that has none.
    """
    for pattern, meaning in _DEFINITIONS:
        found = re.fullmatch(pattern.rstrip("$"), f"{group}: {name}")
        if found:
            return meaning.format(*(g or "" for g in found.groups()))
    return ""
