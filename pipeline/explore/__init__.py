"""A local page that looks words up in fitted maps: questions, answers, and the server that shows them."""
