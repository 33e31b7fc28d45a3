"""Looks at everything that a gateway needs and says what is wrong. Changes nothing, and loads no model."""
