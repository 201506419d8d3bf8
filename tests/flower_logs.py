"""What Flower's processes log when something goes wrong, as it was seen."""

LATE = """Traceback (most recent call last):
  File "node.py", line 424, in __init__
    raise Exception("The current node timed out during startup.")
Exception: The current node timed out during startup. This could happen because the GCS has become overloaded.

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
RuntimeError: Simulation Runtime crashed.

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
RuntimeError: An error was encountered. Ending simulation.
ERROR :     Exit Code: 700
"""
"""Ray that was not up within its own limit."""
