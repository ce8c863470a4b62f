"""Draws an alignment as SVG without a browser, by the page's own rules (see `service/ui/geometry.js`)."""
