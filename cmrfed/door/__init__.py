"""A hospital's door: everything that a server asks of a site comes in here, and all it says leaves here.

messages   what a question and an answer are, and how they are written down; plain data, and no pickle
sockets    how they travel between two accounts of one machine: over a local socket whose other end is known
answering  what becomes of a question: the one table of all that may be asked
daemon     `cmrfed site serve`: owns the home, lets one account ask, and lets answers leave at set times
journal    what was asked, what was answered and what left, line by line, each bound to the one before
bundles    the apps that the hospital's engineer approved
decisions  what the hospital's own people decide: approve and withdraw an app, pause and resume the site

Whoever asks needs `messages` and `sockets` alone: neither torch nor a file of the home.
"""

from cmrfed.door.messages import BUNDLE, REFUSED, Answer, Question, refusal

__all__ = ["BUNDLE", "REFUSED", "Answer", "Question", "refusal"]
