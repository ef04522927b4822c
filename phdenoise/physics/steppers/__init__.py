"""Time steps, one method a file."""
