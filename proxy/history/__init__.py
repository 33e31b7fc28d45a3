"""What was routed, and what became of it: kept for the operator, and for the learned router to learn from."""
