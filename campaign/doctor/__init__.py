"""Whether this installation works: what it is made of, and a test of what everything rests on."""
