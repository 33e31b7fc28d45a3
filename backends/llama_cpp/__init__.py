"""Answers from a model file inside this process, by llama.cpp."""
