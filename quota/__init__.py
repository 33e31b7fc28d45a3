"""Who you are and what you may spend. Sees neither proxy nor backends."""
