"""What a person opens: the servers, the page and the gallery."""
