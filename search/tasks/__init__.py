"""Tasks that come with Paredown, and the parts they share."""
