"""Training: runs by the files that they leave, and the jobs that draw from them."""
