"""How good the calls are, how sure that is, and the page that says so: sees predictions only."""
