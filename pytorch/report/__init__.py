"""From results and figures to what is read: tables, and one page that holds everything."""
