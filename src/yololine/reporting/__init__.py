"""Self-contained HTML: the page of a run, the page of each step, and the pictures on them."""
