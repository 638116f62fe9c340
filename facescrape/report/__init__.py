"""Report: a finished collection in; its accounts (``accounts``), a page with pictures (``gallery``) and a credit for
each of them (``credits``) out, written by ``pages``.
"""
