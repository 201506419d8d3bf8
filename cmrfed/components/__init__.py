"""The apps by the names under which pyproject.toml gives them to Flower, one module each.

A simulation loads both apps at once, in two threads. `cmrfed.apps` says only while it is imported where its packages
are, and Python does not wait for a parent that another thread is in the middle of importing: it would look for
`cmrfed.apps.client` in a folder that does not hold it. So each of these modules imports the parent, whole, by itself
(that Python does wait for) before anything within it.
"""
