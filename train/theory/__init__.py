"""The theory of Goodfellow et al. 2014 on a line: a known density in; Algorithm 1 and pictures of its optimum out."""
