"""The learned router: which prompts need the strong model. Imported only where a router is asked for."""
