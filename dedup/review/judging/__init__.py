"""Judging: pairs drawn at random, what people say of them, and what that says of all."""
