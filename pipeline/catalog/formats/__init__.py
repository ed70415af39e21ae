"""One reader for each format of mesh files; `pipeline.catalog.meshfile` chooses among them."""
