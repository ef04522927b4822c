"""SDF scans as beamlines write them: what the header says is read, what is no image is refused, nothing is invented."""

import numpy as np
import pytest

from phdenoise.io.acquisition import acquisition_of
from phdenoise.io.reading import read
from phdenoise.types import InputError

X, Y = np.arange(6) * 0.05 - 1, np.arange(4) * 0.1 + 5
IMAGES = np.random.default_rng(0).integers(100, 200, (3, 4, 6))
ENERGIES = (700.0, 708.0, 710.0)


def _points(values):
    return f"({len(values)}, " + ", ".join(f"{v:.4f}" for v in values) + ")"


def _axis(name, label, unit, values):
    return f'{name} = {{ Name = "{label}"; Unit = "{unit}"; Dir = 1; Points = {_points(values)};\n}};\n'


def _header(
    *, kind="NEXAFS Image Scan", x=X, y=Y, unit="um", names=("Sample X", "Sample Y"), stack=ENERGIES, over="Energy",
    over_unit="eV", channels=("PMT",), more="",
):  # fmt: skip
    region = "{ " + _axis("PAxis", names[0], unit, x) + _axis("QAxis", names[1], unit, y) + "}"
    stacked = "" if stack is None else _axis("StackAxis", over, over_unit, stack)
    counters = ", ".join(f'{{ Name = "{c}"; Unit = "Hz";}}' for c in channels)
    return (
        f'ScanDefinition = {{ Label = "v.hdr"; Type = "{kind}"; Flags = "Image Stack"; Dwell = 2.5;\n Regions = (1,\n{region});\n'
        f"{stacked} Channels = ({len(channels)}, {counters});\n}};\n"
        f'Time = "2020 October 15 11:59:33";\nEPU_Polarization = {{ Name = "EPU Polarization"; LastPosition = -1;}};\n{more}'
    )


def _text(image):
    return "".join("\t".join(str(v) for v in row) + "\t\r\n" for row in image).encode()


def _scan(folder, header, images=IMAGES, letter="a"):
    text = header if isinstance(header, bytes) else header.encode()
    (folder / "v.hdr").write_bytes(text)
    for n, image in enumerate(images):
        (folder / f"v_{letter}{n:03d}.xim").write_bytes(_text(image))
    return folder / "v.hdr"


@pytest.mark.parametrize("coding", ["latin-1", "utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("unit", ["um", "µm"])
def test_a_micrometre_is_one_in_any_encoding(tmp_path, coding, unit):
    movie = read(_scan(tmp_path, _header(unit=unit).encode(coding)))
    assert movie.length_unit == "um"
    np.testing.assert_allclose(movie.pixel_size, (0.1, 0.05))
    np.testing.assert_array_equal(movie.frames, IMAGES)


@pytest.mark.parametrize(
    "kind",
    ["NEXAFS Line Scan", "Focus Scan", "OSA Scan", "OSA Focus Scan", "Detector Scan", "Motor2D Scan", "NEXAFS Point Scan"],
)  # fmt: skip
def test_scans_that_are_no_image_are_refused(tmp_path, kind):
    with pytest.raises(InputError, match=kind):
        read(_scan(tmp_path, _header(kind=kind)))


def test_an_axis_that_is_no_position_is_refused(tmp_path):
    with pytest.raises(InputError, match="Zone Plate"):
        read(_scan(tmp_path, _header(kind="Image Scan", names=("Sample X", "Zone Plate"))))


def test_a_counter_is_chosen_and_never_the_first_by_chance(tmp_path):
    path = _scan(tmp_path, _header(channels=("PMT", "Itot")))
    _scan(tmp_path, _header(channels=("PMT", "Itot")), IMAGES + 7, "b")
    with pytest.raises(InputError, match=r"a \(PMT\), b \(Itot\)"):
        read(path)
    for chosen in ("b", "Itot"):
        movie = read(f"{path}::{chosen}")
        np.testing.assert_array_equal(movie.frames, IMAGES + 7)
        assert acquisition_of(movie).counter == "Itot"


def test_a_counter_alone_needs_no_choice(tmp_path):
    movie = read(_scan(tmp_path, _header(channels=("PMT", "Itot")), letter="b"))
    np.testing.assert_array_equal(movie.frames, IMAGES)
    assert acquisition_of(movie).counter == "Itot"


def test_what_the_header_says_of_each_image_is_read(tmp_path):
    more = "".join(
        f'Image{n:03d}_0 = {{StorageRingCurrent = {400 - n}; Energy = {e}; Time = "2020 Oct 15 12:0{n}:35";}};\n'
        for n, e in enumerate((700.01, 710.2, 708.1))
    )
    movie = read(_scan(tmp_path, _header(stack=(700.0, 710.0, 706.0), more=more)))
    np.testing.assert_allclose(movie.times, [700.01, 708.1, 710.2])
    np.testing.assert_array_equal(movie.frames, IMAGES[[0, 2, 1]])
    taken = acquisition_of(movie)
    np.testing.assert_allclose(taken.current, [400, 398, 399])
    np.testing.assert_allclose(np.diff(taken.started), [120, -60])
    assert (taken.one("exposure"), taken.one("polarisation")) == (0.0025, -1)
    assert any("recorded energies are used" in n for n in movie.provenance["notes"])


def test_dwell_times_of_energy_regions(tmp_path):
    more = "ImageScan = { EnergyRegions = (2, {Points = 1; DwellTime = 1;}, {Points = 2; DwellTime = 4;});};\n"
    taken = acquisition_of(read(_scan(tmp_path, _header(more=more))))
    np.testing.assert_allclose(taken.exposure, [0.001, 0.004, 0.004])


def test_one_energy_throughout_is_a_movie_in_time(tmp_path):
    more = "".join(f'Image{n:03d}_0 = {{Energy = 708; Time = "2020 Oct 15 12:0{n}:00";}};\n' for n in range(3))  # fmt: skip
    movie = read(_scan(tmp_path, _header(stack=(708.0,) * 3, more=more)))
    assert movie.time_unit == "s"
    np.testing.assert_allclose(movie.times, [0, 60, 120])
    assert acquisition_of(movie).one("energy") == 708


@pytest.mark.parametrize("energies", [(0.700, 0.708, 0.710), (0.710, 0.708, 0.700)])
def test_kiloelectronvolts_and_falling_energies(tmp_path, energies):
    movie = read(_scan(tmp_path, _header(stack=energies, over_unit="keV")))
    np.testing.assert_allclose(movie.times, ENERGIES)
    assert movie.time_unit == "eV"
    order = np.argsort(energies)
    np.testing.assert_array_equal(movie.frames, IMAGES[order])


@pytest.mark.parametrize(
    ("over", "unit", "axis"), [("Zone Plate", "um", "um"), ("EPU Polarization", "", "polarisation")]
)
def test_a_stack_over_something_else_is_not_over_energy(tmp_path, over, unit, axis):
    movie = read(_scan(tmp_path, _header(stack=(-3.0, -2.0, 1.0), over=over, over_unit=unit)))
    assert movie.time_unit == axis
    np.testing.assert_allclose(movie.times, [-3, -2, 1])
    assert any(over in n and "not over time or energy" in n for n in movie.provenance["notes"])


def test_uneven_positions_give_no_pixel_size(tmp_path):
    movie = read(_scan(tmp_path, _header(x=np.array([0, 0.05, 0.1, 0.2, 0.4, 0.8]))))
    assert movie.length_unit == "px"
    assert any("uneven" in n for n in movie.provenance["notes"])


def test_jitter_of_an_encoder_is_even(tmp_path):
    movie = read(_scan(tmp_path, _header(x=X + 0.001 * np.array([0, 1, -1, 1, -1, 0]))))
    np.testing.assert_allclose(movie.pixel_size, (0.1, 0.05))


@pytest.mark.parametrize("word", ["1.#QNAN", "-1.#IND", "nan", "1.#QNAN00", "-1.#INF"])
def test_what_is_not_a_number_is_masked(tmp_path, word):
    path = _scan(tmp_path, _header())
    text = _text(IMAGES[1]).decode().split("\t")
    text[2] = word
    (tmp_path / "v_a001.xim").write_bytes("\t".join(text).encode())
    movie = read(path)
    wanted = IMAGES.astype(float)
    wanted[1, 0, 2] = np.nan
    np.testing.assert_array_equal(movie.frames, wanted)
    assert not movie.valid()[1, 0, 2]


def test_capitals_and_decimal_commas(tmp_path):
    header = _header().replace(".", ",").replace("v,hdr", "v.hdr")
    (tmp_path / "v.hdr").write_text(header)
    for n, image in enumerate(IMAGES):
        rows = "\r\n".join("\t".join(f"{v},25" for v in row) for row in image)
        (tmp_path / f"V_A{n:03d}.XIM").write_text(rows)
    movie = read(tmp_path / "v.hdr")
    np.testing.assert_array_equal(movie.frames, IMAGES + 0.25)
    np.testing.assert_allclose(movie.times, ENERGIES)
    np.testing.assert_allclose(movie.pixel_size, (0.1, 0.05))


@pytest.mark.parametrize("pixels", [24, 15, 6, 3])
def test_a_stopped_stack_keeps_what_was_recorded(tmp_path, pixels):
    """The second image has so many pixels, the third none."""
    path = _scan(tmp_path, _header(), IMAGES[:2])
    words = _text(IMAGES[1]).decode().replace("\t\r\n", "\t").split("\t")[:pixels]
    rows = ["\t".join(words[k : k + 6]) for k in range(0, pixels, 6)]
    (tmp_path / "v_a001.xim").write_text("\r\n".join(rows) + "\r\n")
    movie = read(path)
    wanted = IMAGES[:2].astype(float)
    wanted[1].reshape(-1)[pixels:] = np.nan
    np.testing.assert_array_equal(movie.frames, wanted)
    np.testing.assert_allclose(movie.times, ENERGIES[:2])
    assert any("3 images and 2 were recorded" in n for n in movie.provenance["notes"])
    assert any("stopped" in n for n in movie.provenance["notes"]) == (pixels < 24)


def test_a_list_of_another_length_than_it_says_is_damaged(tmp_path):
    header = _header().replace("(3, 700", "(4, 700")
    with pytest.raises(InputError, match="4 items and has 3"):
        read(_scan(tmp_path, header))


def test_a_brace_too_many_in_a_list_is_left_out(tmp_path):
    header = _header().replace("710.0000)", "710.0000})")
    np.testing.assert_array_equal(read(_scan(tmp_path, header)).frames, IMAGES)


@pytest.mark.parametrize("unit", ["m", "nm"])
def test_a_pixel_that_no_xray_microscope_has_is_questioned(tmp_path, unit):
    movie = read(_scan(tmp_path, _header(unit=unit)))
    assert any("is the unit right" in n for n in movie.provenance["notes"])
