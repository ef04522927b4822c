"""Evolution equations, one law a file."""
