"""`python -m dataprune`."""

from dataprune.cli import main

main()
