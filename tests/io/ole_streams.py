"""A stand-in for the OLE files of X-ray microscopes."""

import io


class Streams:
    """An OLE file as olefile shows it."""

    def __init__(self, parts):
        self.parts = parts

    def exists(self, name):
        return name in self.parts

    def openstream(self, name):
        return io.BytesIO(self.parts[name])
