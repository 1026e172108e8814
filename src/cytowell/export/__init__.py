"""From a trained network to a bundle's files, with proof that both compute the same."""
