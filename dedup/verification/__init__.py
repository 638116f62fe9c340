"""Verification: pairs of thumbnails in, how surely each shows one picture out; and what is remembered of it."""
