"""Recurrent models of text: the equations, the fast paths, the network."""
