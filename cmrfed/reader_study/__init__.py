"""A reader study: can people who read cardiac MRI tell synthetic slices from real ones?

`items` chooses slices and hides which is which, `page` makes the one offline file that readers open, `score` joins
their answers with the key. The page shows held-out patients' images: it is patient data and stays where those may be.
"""

from cmrfed.reader_study.items import Item, StudyKey, choose_items
from cmrfed.reader_study.page import write_study
from cmrfed.reader_study.score import ReaderAnswers, read_answers, score_readers

__all__ = ["Item", "ReaderAnswers", "StudyKey", "choose_items", "read_answers", "score_readers", "write_study"]
