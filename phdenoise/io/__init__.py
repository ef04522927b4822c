"""Files in and out: readers, atomic writers, JSON results."""

from phdenoise.io.atomic import atomic, atomic_directory, check_writable
from phdenoise.io.channels import Layout, read_channels
from phdenoise.io.jsonfile import plain, to_json, write_json
from phdenoise.io.native import read_estimate
from phdenoise.io.native_channels import read_channels_estimate
from phdenoise.io.parts import MovieFile, movie_shape, open_movie, write_parts
from phdenoise.io.readers import Format, register_reader
from phdenoise.io.reading import read
from phdenoise.io.source import Opened, Source
from phdenoise.io.to_movie import check_values
from phdenoise.io.writing import output_files, write

__all__ = [
    "Format",
    "Layout",
    "MovieFile",
    "Opened",
    "Source",
    "atomic",
    "atomic_directory",
    "check_values",
    "check_writable",
    "movie_shape",
    "open_movie",
    "output_files",
    "plain",
    "read",
    "read_channels",
    "read_channels_estimate",
    "read_estimate",
    "register_reader",
    "to_json",
    "write",
    "write_json",
    "write_parts",
]
