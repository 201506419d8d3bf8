"""python -m cmrfed.cli: the console script without an installation."""

from cmrfed.cli import main

main()
