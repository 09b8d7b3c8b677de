"""Command lines: napari-fewshot and napari-fewshot-train."""
