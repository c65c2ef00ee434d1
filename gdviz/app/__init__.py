"""The page of a lab: the only part of gdviz that knows widgets."""
