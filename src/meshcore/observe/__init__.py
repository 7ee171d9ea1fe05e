"""What watches a gateway: tags, metrics, exporters."""
