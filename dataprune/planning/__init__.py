"""What a scoring job is made of and what it will cost, before it is begun."""
