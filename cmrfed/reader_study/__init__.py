"""A reader study: can people who read cardiac MRI tell synthetic slices from real ones, and are synthetic hearts
plausible to them?

To tell apart: `items` chooses slices and hides which is which, `score` joins readers' answers with the key.
Plausibility: `hearts` has whole stacks at both phases, `plausibility` chooses and draws them, `answers` is what readers
may say, `ratings` joins it with the key. `page` makes the one offline file that readers open. A page that shows
held-out patients' images is patient data and stays where those may be.
"""

from cmrfed.reader_study.answers import PlausibilityAnswers, read_plausibility_answers
from cmrfed.reader_study.hearts import Heart, Painter
from cmrfed.reader_study.items import Item, StudyKey, choose_items
from cmrfed.reader_study.page import write_review, write_study
from cmrfed.reader_study.plausibility import PlausibilityKey, Review, choose_review
from cmrfed.reader_study.ratings import score_review
from cmrfed.reader_study.score import ReaderAnswers, read_answers, score_readers

__all__ = [
    "Heart",
    "Item",
    "Painter",
    "PlausibilityAnswers",
    "PlausibilityKey",
    "ReaderAnswers",
    "Review",
    "StudyKey",
    "choose_items",
    "choose_review",
    "read_answers",
    "read_plausibility_answers",
    "score_readers",
    "score_review",
    "write_review",
    "write_study",
]
