"""Names: whom to search for. DBpedia (``dbpedia``) or a user's list (``lists``) goes in, ``names.parquet`` comes out.

First arrow of "names → URLs → photographs → boxes → crops": ``stages``, on rows of ``people``.
"""
