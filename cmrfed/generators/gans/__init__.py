"""Generative adversarial networks: a painter, and a critic that alone meets patients (`adversarial.py`).

Networks are made of what `layers.py`, `painters.py` and `critics.py` hold; each family is a file.
"""
