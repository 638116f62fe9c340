"""Tables: what each stage of "names → URLs → photographs → boxes → crops" writes down, a parquet schema for each.

A person is known by ``person``: the DBpedia URI, or ``name:NAME`` where the names came from a file. A photograph is
known by ``sha256``, of its bytes; a URL by itself.
"""

import pyarrow as pa

# names.parquet: a row per person, the most linked first.
NAMES = pa.schema(
    [
        ("person", pa.string()),
        ("name", pa.string()),
        ("birth_date", pa.string()),  # ISO 8601, YYYY-MM-DD; null where unknown
        ("page", pa.string()),  # of Wikipedia; null where unknown
        ("thumbnail", pa.string()),  # URL; null where there is none
        ("links", pa.int64()),  # pages of Wikipedia that link to the person's; null where unknown
    ]
)

# NNNNN.urls.parquet: a row per search result, people in their order, results by rank. A URL may come for two people.
URLS = pa.schema(
    [
        ("url", pa.string()),
        ("person", pa.string()),
        ("name", pa.string()),
        ("provider", pa.string()),
        ("rank", pa.int32()),  # place among the person's results, from 0
        ("page", pa.string()),  # where a person can look at it
        ("title", pa.string()),
        ("licence", pa.string()),  # as the provider calls it, such as "CC BY-SA 4.0"; null where unknown
        ("licence_url", pa.string()),
        ("author", pa.string()),  # plain text
        ("width", pa.int32()),  # as the provider says; null where unknown
        ("height", pa.int32()),
    ]
)

# NNNNN.photos.parquet: a row per distinct URL, in the order of URLS; what became of it.
PHOTOS = pa.schema(
    [
        ("url", pa.string()),
        ("status", pa.string()),  # of `facescrape.status.Status`
        ("http_status", pa.int32()),  # the last answer's; null where there was none
        ("final_url", pa.string()),  # after redirects; null where nothing was asked for
        ("size_bytes", pa.int64()),  # this and the next four are null unless the status is ok
        ("sha256", pa.string()),
        ("format", pa.string()),
        ("width", pa.int32()),  # upright, as a viewer shows it
        ("height", pa.int32()),
        ("fetched_at", pa.timestamp("ms", tz="UTC")),
        ("seconds", pa.float32()),  # from the first request to the end, waiting between tries left out
    ]
)

# NNNNN.images.parquet: a row per distinct photograph, at its first URL.
IMAGES = pa.schema(
    [
        ("sha256", pa.string()),
        ("reason", pa.string()),  # of `pipelines.headers.RejectReason`; null where it could be decoded
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("faces", pa.int32()),  # boxes found
        ("kept", pa.int32()),  # of which kept
    ]
)

# NNNNN.boxes.parquet: a row per face found, in pixels of the upright photograph at full size.
BOXES = pa.schema(
    [
        ("sha256", pa.string()),
        ("face", pa.int32()),  # number within the photograph, best score first
        ("left", pa.float32()),
        ("top", pa.float32()),
        ("width", pa.float32()),
        ("height", pa.float32()),
        ("score", pa.float32()),
        ("landmarks", pa.list_(pa.float32(), 10)),  # x, y of right eye, left eye, nose, mouth corners; null without
        ("sharpness", pa.float32()),  # variance of the Laplacian of the box at 128 px
        ("detector", pa.string()),
        ("reason", pa.string()),  # of `facescrape.detect.BoxReason`; null where the box is kept
    ]
)
