"""`python -m phdenoise` is the command line."""

from phdenoise.cli.main import main

main()
