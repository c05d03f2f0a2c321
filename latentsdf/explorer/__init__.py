"""The explorer: pages in the browser for spaces, fields and sample stores, served by viser."""
