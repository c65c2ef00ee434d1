"""One column too many."""
