"""Evidence: findings on disk in, one page of the paper's experiments, its figures beside ours, out."""
