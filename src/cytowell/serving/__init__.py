"""The laboratory's own server: HTTP over the same calls that the command line makes.

`desk` takes images of all requests a few at a time; `guard` refuses what is too large, too fast or
without a key; `api` is the routes; `app` puts them together. PyTorch is never loaded.
"""
