"""How many workers a server has, and what each of them takes."""
