"""Fetch: the arrow "URLs → photographs". To read in this order: ``fetcher`` brings the archive up to date for URLs;
``pursuit`` is a URL's way, step by step; ``hosts`` says which may be asked now, ``crew`` are the threads that ask, and
``fleet`` the processes; ``permits`` and ``consent`` know what hosts allow, ``politeness`` how often they are asked;
``verdict`` tells pictures from all else.
"""
