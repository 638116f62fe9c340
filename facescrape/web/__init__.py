"""Web: how anything of a collection reaches a host. A URL goes in, an answer within limits comes out.

``wire`` resolves and connects, and refuses what is not public; ``connections`` puts it under requests; ``exchange`` is
one request and its answer, which ``watchdog`` ends in time; ``client`` asks the services that answer in JSON.
"""
