"""What rows should be there, what is there, and what is known of the rest."""
