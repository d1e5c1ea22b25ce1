"""Small charts as SVG text: numbers in, the same picture out every time. No files, no fonts of their own, no script."""
