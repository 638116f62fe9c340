"""Pages: one file per page of the review, with the addresses that it needs; a template of the same name beside it."""
