"""Lets ``python -m cytowell.cli`` do what ``cytowell`` does."""

from cytowell.cli import main

main()
