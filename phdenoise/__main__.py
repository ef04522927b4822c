"""`python -m phdenoise` is the command line."""

from phdenoise.cli import main

main()
