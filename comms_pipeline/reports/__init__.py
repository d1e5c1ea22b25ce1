"""Reports people look at: HTML pages and small charts from the marts. Computes no figure of its own."""
